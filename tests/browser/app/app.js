// What a frontend does to connect an account, and no more: sign up, start, come back, finish.

const { apiUrl, publishableKey } = await (await fetch("config.json")).json();
const page = location.origin + location.pathname;
const show = (id, text) => { document.getElementById(id).textContent = text; };

async function send(url, { body, ...options } = {}) {
  const reply = await fetch(url, {
    method: body ? "POST" : "GET",
    ...options,
    headers: { "content-type": "application/json", ...options.headers },
    body: body && JSON.stringify(body),
  });
  const answer = await reply.json();
  return reply.ok ? answer : Promise.reject(new Error(answer.code));
}

const api = (path, options) =>
  send(`${apiUrl}/api/integrations${path}`, {
    ...options,
    headers: { authorization: `Bearer ${sessionStorage.accessToken}` },
  });

async function signUp() {
  const session = await send("/auth/v1/signup", {
    headers: { apikey: publishableKey },
    body: { email: `${crypto.randomUUID()}@example.com`, password: crypto.randomUUID() },
  });
  sessionStorage.accessToken = session.access_token;
  await resume();
}

async function resume() {
  await list();
  show("status", "signed in");
}

async function connect(event) {
  event.preventDefault();
  const wish = new FormData(event.target);
  // Before the first await: a browser opens windows only while it handles a click.
  const popup = wish.has("popup") ? window.open("", "consent", "popup") : null;
  const { auth_url } = await api("/oauth/initiate", {
    body: { service_name: wish.get("service"), ...(popup ? {} : { redirect_to: page }) },
    credentials: wish.has("cookie") ? "include" : "omit",
  });
  show("status", "started");
  (popup ?? window).location = auth_url;
}

async function arrive(parameter, value) {
  show("parameter", parameter);
  show("value", value);
  const status = await outcome(parameter, value).catch((error) => error.message);
  await list();
  show("status", status);
}

async function outcome(parameter, value) {
  if (parameter === "integration_error") return value;
  if (parameter === "integration_handle") {
    // Careless on purpose: a real app sends a handle on only where this browser has started a flow.
    const { integration_id } = await api("/oauth/callback", { body: { handle: value } });
    show("value", integration_id);
  }
  return "connected";
}

async function list() {
  const { integrations } = await api("");
  const items = integrations.map((row) => {
    const item = document.createElement("li");
    item.id = row.id;
    item.textContent = [row.service_name, row.external_account_id, row.status].join(" ");
    return item;
  });
  document.getElementById("connections").replaceChildren(...items);
  show("count", items.length);
}

const attempt = (action) => (...args) => action(...args).catch((error) => show("status", error.message));
document.getElementById("sign-up").addEventListener("click", attempt(signUp));
document.getElementById("connect").addEventListener("submit", attempt(connect));
addEventListener("message", ({ origin, data }) => {
  if (origin === apiUrl && data.type === "supabase-integrations") {
    const [parameter, value] = Object.entries(data).find(([name]) => name !== "type");
    attempt(arrive)(parameter, value);
  }
});

const [[parameter, value] = []] = new URLSearchParams(location.hash.slice(1));
history.replaceState(null, "", page); // nobody finds it in the address bar or finishes it again by reloading
if (parameter) attempt(arrive)(parameter, value);
else if (sessionStorage.accessToken) attempt(resume)();
else show("status", "signed out");
