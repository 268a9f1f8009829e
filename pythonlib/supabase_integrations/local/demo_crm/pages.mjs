// The demo service's own pages: sign in, consent, and what went wrong. Plain forms, so that curl passes them too.

const ENTITIES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escape = (text) => String(text).replace(/[&<>"']/g, (character) => ENTITIES[character]);

const SCOPES = {
  openid: 'know who you are',
  offline_access: 'stay connected while you are away',
  'contacts:read': 'read your contacts',
};

const page = (title, body) => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)} · Demo CRM</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 24rem; margin: 10vh auto; padding: 0 1rem; color: #1c2733 }
  h1 { font-size: 1.25rem } input, button { font: inherit; padding: .5rem .75rem; border-radius: .375rem }
  input { width: 100%; box-sizing: border-box; border: 1px solid #8896a5; margin: .25rem 0 1rem }
  button { border: 1px solid #1f6feb; background: #1f6feb; color: #fff; cursor: pointer }
  button.quiet { background: none; color: #1f6feb } footer { margin-top: 2rem; color: #5b6875; font-size: .875rem }
</style>
<h1>${escape(title)}</h1>
${body}
<footer>Demo CRM runs on your own machine. Nothing leaves it.</footer>
</html>
`;

export const signInPage = ({ action, hint = '', problem = '' }) =>
  page(
    'Sign in to Demo CRM',
    `${problem && `<p role="alert">${escape(problem)}</p>`}
<form method="post" action="${escape(action)}">
  <label>Name <input name="login" value="${escape(hint)}" autocomplete="username" required autofocus></label>
  <button>Sign in</button>
</form>
<p>Any name will do: each is an account of its own.</p>`,
  );

export const consentPage = ({ action, abortAction, otherAccount, client, account, scopes }) =>
  page(
    `Connect ${client}?`,
    `<p>${escape(client)} asks to</p>
<ul>${scopes.map((scope) => `<li>${escape(SCOPES[scope] ?? scope)}</li>`).join('')}</ul>
<p>You are signed in as <b>${escape(account)}</b>. <a href="${escape(otherAccount)}">Use another account</a></p>
<form method="post" action="${escape(action)}"><button autofocus>Allow</button></form>
<form method="post" action="${escape(abortAction)}" style="margin-top:.5rem"><button class="quiet">Cancel</button></form>`,
  );

export const problemPage = ({ error, description }) =>
  page('This did not work', `<p role="alert"><b>${escape(error)}</b> ${escape(description ?? '')}</p>`);
