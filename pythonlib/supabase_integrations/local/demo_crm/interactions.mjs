// Sign-in and consent: what happens between the authorization request and the redirect back to the client.

import { consentPage, problemPage, signInPage } from './pages.mjs';

const LOGIN = /^[\p{L}\p{N}._@+-]{1,64}$/u;
const BODY_LIMIT = 4096;

const HEADERS = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
  // As the big services do: a window that opened this one loses sight of it.
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
};

export const interactions = (provider) => async (ctx, next) => {
  const [, uid, step = ''] = /^\/interaction\/([\w-]+)(?:\/(login|allow|cancel))?$/.exec(ctx.path) ?? [];
  if (!uid) return next();
  ctx.set(HEADERS);
  ctx.type = 'html';
  const details = await provider.interactionDetails(ctx.req, ctx.res).catch(() => undefined);
  if (details?.uid !== uid) return refuse(ctx, 400, 'This sign-in has expired. Start again in the app.');
  if (ctx.method === 'GET' && !step) return show(ctx, provider, details);
  if (ctx.method !== 'POST' || !step) return refuse(ctx, 405, 'This page is for reading, its buttons are for sending.');
  const answer = await { login, allow, cancel }[step](ctx, provider, details);
  if (!answer) return undefined;
  ctx.status = 303;
  ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, answer, { mergeWithLastSubmission: step === 'allow' }));
  return undefined;
};

async function show(ctx, provider, { uid, prompt, params, session }) {
  if (prompt.name === 'login') {
    ctx.body = signInPage({ action: `/interaction/${uid}/login`, hint: params.login_hint });
    return;
  }
  const client = await provider.Client.find(params.client_id);
  ctx.body = consentPage({
    action: `/interaction/${uid}/allow`,
    abortAction: `/interaction/${uid}/cancel`,
    otherAccount: `/auth?${new URLSearchParams({ ...params, prompt: 'login' })}`,
    client: client.clientName ?? client.clientId,
    account: session.accountId,
    scopes: params.scope.split(' '),
  });
}

async function login(ctx, provider, details) {
  const name = ((await readForm(ctx)).get('login') ?? '').trim();
  if (!LOGIN.test(name)) {
    ctx.status = 400;
    ctx.body = signInPage({
      action: `/interaction/${details.uid}/login`,
      problem: 'A name has 1 to 64 letters, digits or . _ @ + -',
    });
    return undefined;
  }
  if (details.session?.accountId && details.session.accountId !== name) await forgetAccount(provider, details);
  return { login: { accountId: name } };
}

/** Sign the browser's earlier account out: the server would otherwise ask to confirm that on a page of its own. */
async function forgetAccount(provider, details) {
  const session = await provider.Session.find(details.session.cookie);
  if (!session) return;
  session.accountId = undefined;
  session.authorizations = undefined;
  await session.persist();
  // Else the server sees that the account changed underneath this very interaction.
  details.session.accountId = undefined;
  await details.persist();
}

async function allow(_ctx, provider, { params, session, prompt }) {
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  if (prompt.details.missingOIDCClaims) grant.addOIDCClaims(prompt.details.missingOIDCClaims);
  return { consent: { grantId: await grant.save() } };
}

function refuse(ctx, status, description) {
  ctx.status = status;
  ctx.body = problemPage({ error: 'Not possible.', description });
}

const cancel = () => ({ error: 'access_denied', error_description: 'The user did not allow the connection.' });

async function readForm(ctx) {
  let body = '';
  for await (const chunk of ctx.req) {
    body += chunk;
    if (body.length > BODY_LIMIT) break; // a name is short: what follows makes it invalid anyway
  }
  return new URLSearchParams(body);
}
