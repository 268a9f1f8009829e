// The service `demo_crm`: a certified OAuth 2.0 and OpenID Connect server with pages of its own and a small API.
// PKCE S256 is required, refresh tokens rotate with reuse detection, and every grant is asked for anew.
//
// Environment: DEMO_PORT, DEMO_ISSUER, DEMO_STORE (file), DEMO_CLIENTS (JSON array of client registrations; beside the
// standard names each may have `access_token_seconds`).

import { generateKeyPairSync, randomBytes } from 'node:crypto';

import Provider from 'oidc-provider';

import { listContacts } from './contacts.mjs';
import { interactions } from './interactions.mjs';
import { problemPage } from './pages.mjs';
import { Store, adapterFor } from './store.mjs';

const HOUR = 3600;
const DAY = 24 * HOUR;

const { DEMO_PORT, DEMO_ISSUER, DEMO_STORE, DEMO_CLIENTS } = process.env;

const store = new Store(DEMO_STORE);

const signingKey = () => ({
  ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
  use: 'sig',
  alg: 'RS256',
  kid: randomBytes(8).toString('hex'),
});

const provider = new Provider(DEMO_ISSUER, {
  adapter: adapterFor(store),
  clients: JSON.parse(DEMO_CLIENTS),
  extraClientMetadata: { properties: ['access_token_seconds'] },
  jwks: { keys: [store.remember('setting:signing-key', signingKey)] },
  cookies: { keys: [store.remember('setting:cookie-key', () => randomBytes(32).toString('hex'))] },
  scopes: ['openid', 'offline_access', 'contacts:read'],
  claims: { openid: ['sub', 'name'] },
  responseTypes: ['code'],
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id, name: id }) }),
  pkce: { required: () => true },
  features: {
    devInteractions: { enabled: false },
    introspection: { enabled: true },
    revocation: { enabled: true },
    rpInitiatedLogout: { enabled: false },
  },
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  // Only a grant of this very flow counts, so the consent page is always shown.
  loadExistingGrant(ctx) {
    const id = ctx.oidc.result?.consent?.grantId;
    return id ? ctx.oidc.provider.Grant.find(id) : undefined;
  },
  issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: true,
  expiresWithSession: () => false,
  ttl: {
    AccessToken: (_ctx, _token, client) => client.access_token_seconds ?? HOUR,
    // Long for a code, so that a person who follows the README by hand is not too slow.
    AuthorizationCode: 600,
    Grant: 90 * DAY,
    IdToken: HOUR,
    Interaction: HOUR,
    RefreshToken: 90 * DAY,
    Session: DAY,
  },
  renderError(ctx, { error, error_description: description }) {
    ctx.type = 'html';
    ctx.body = problemPage({ error, description });
  },
});

provider.use(interactions(provider));
provider.use(async (ctx, next) => {
  if (ctx.path !== '/api/contacts') return next();
  if (ctx.method !== 'GET') return refuse(ctx, 405, 'method_not_allowed');
  const [scheme, value = ''] = ctx.get('authorization').split(' ');
  const token = scheme.toLowerCase() === 'bearer' && (await provider.AccessToken.find(value));
  if (!token) return refuse(ctx, 401, 'invalid_token');
  if (!token.scopes.has('contacts:read')) return refuse(ctx, 403, 'insufficient_scope');
  ctx.body = listContacts(ctx.query);
});

function refuse(ctx, status, error) {
  ctx.status = status;
  if (status !== 405) ctx.set('WWW-Authenticate', `Bearer error="${error}"`);
  ctx.body = { error };
}

provider.on('server_error', (_ctx, error) => console.error(error));

const server = provider.listen(Number(DEMO_PORT), '127.0.0.1', () => console.log(`listening at ${DEMO_ISSUER}`));
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    server.close(() => process.exit(0));
    server.closeAllConnections();
  });
}
