// What the demo service remembers between runs: one JSON line per change, replayed and compacted at start.
// A change is on its way to the disk before it is answered, so a killed server forgets no rotated refresh token.

import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';

const now = () => Date.now() / 1000;

export class Store {
  #path;
  #entries = new Map();

  constructor(path) {
    this.#path = path;
    if (existsSync(path)) this.#replay(readFileSync(path, 'utf8'));
    const draft = `${path}.draft`;
    writeFileSync(draft, [...this.#entries].map(([key, entry]) => line({ key, ...entry })).join(''), { mode: 0o600 });
    renameSync(draft, path);
  }

  get(key) {
    const entry = this.#entries.get(key);
    return entry && (entry.expires === undefined || entry.expires > now()) ? entry.value : undefined;
  }

  /** @param seconds lifetime; undefined means for good */
  set(key, value, seconds) {
    const entry = { value, expires: seconds === undefined ? undefined : now() + seconds };
    this.#entries.set(key, entry);
    appendFileSync(this.#path, line({ key, ...entry }));
  }

  replace(key, value) {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.set(key, { ...entry, value });
    appendFileSync(this.#path, line({ key, ...entry, value }));
  }

  delete(key) {
    if (this.#entries.delete(key)) appendFileSync(this.#path, line({ key, deleted: true }));
  }

  keysWhere(predicate) {
    return [...this.#entries].filter(([, entry]) => predicate(entry.value)).map(([key]) => key);
  }

  /** The value under `key`, made by `make` on the first run. */
  remember(key, make) {
    if (this.get(key) === undefined) this.set(key, make());
    return this.get(key);
  }

  #replay(text) {
    for (const row of text.split('\n')) {
      let change;
      try {
        change = JSON.parse(row);
      } catch {
        continue; // the empty last line, or one that a killed server did not finish
      }
      const { key, value, expires, deleted } = change;
      if (deleted || (expires !== undefined && expires <= now())) this.#entries.delete(key);
      else this.#entries.set(key, { value, expires });
    }
  }
}

/** oidc-provider's storage interface over one Store. */
export const adapterFor = (store) =>
  class {
    constructor(model) {
      this.model = model;
    }

    async upsert(id, payload, seconds) {
      store.set(this.#key(id), payload, seconds);
    }

    async find(id) {
      return store.get(this.#key(id));
    }

    async findByUid(uid) {
      const [key] = store.keysWhere((value) => value.uid === uid);
      return key && store.get(key);
    }

    async findByUserCode() {
      return undefined; // the device flow is off
    }

    async consume(id) {
      const key = this.#key(id);
      store.replace(key, { ...store.get(key), consumed: Math.floor(now()) });
    }

    async destroy(id) {
      store.delete(this.#key(id));
    }

    async revokeByGrantId(grantId) {
      for (const key of store.keysWhere((value) => value.grantId === grantId)) store.delete(key);
    }

    #key(id) {
      return `${this.model}:${id}`;
    }
  };

const line = (change) => `${JSON.stringify(change)}\n`;
