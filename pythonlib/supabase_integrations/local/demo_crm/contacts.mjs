// The demo service's API: a few contacts, in pages.

const FIRST = ['Ada', 'Barbara', 'Edsger', 'Grace', 'Katherine'];
const LAST = ['Adams', 'Baker', 'Clark', 'Davis', 'Evans'];

const CONTACTS = FIRST.flatMap((first, row) =>
  LAST.map((last, column) => ({
    id: String(row * LAST.length + column + 1),
    name: `${first} ${last}`,
    email: `${first}.${last}@example.com`.toLowerCase(),
  })),
);

const PAGE_SIZE = 10;

/** @param query `limit` (1 to 25, default 10) and `cursor` (from the page before) */
export function listContacts(query) {
  const limit = Math.min(Math.max(Number(query.limit) || PAGE_SIZE, 1), CONTACTS.length);
  const start = Math.max(Number(query.cursor) || 0, 0);
  const next = start + limit;
  return { contacts: CONTACTS.slice(start, next), next_cursor: next < CONTACTS.length ? String(next) : null };
}
