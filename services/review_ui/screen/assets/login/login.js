// How does somebody get in? Name and password to the API, which answers with the session cookie.
import { call } from "../http.js";
import { label, words } from "../words/words.js";

const form = document.querySelector("form");
const alert = document.querySelector("[role=alert]");
const button = form.querySelector("button");
let known = {};

// Not awaited: the form works from the start.
words("login").then((found) => {
  known = found;
  label(document, known);
  document.title = `${known.title} · Review`;
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  alert.textContent = "";
  button.disabled = true;
  try {
    await call("POST", "/login", { name: form.elements.name.value, password: form.elements.password.value });
    location.replace(wanted());
  } catch (error) {
    alert.textContent = known[`error_${error.code}`] ?? error.message;
    form.elements.password.select();
  } finally {
    button.disabled = false;
  }
});

button.disabled = false; // before, Enter would have sent the form past this script

/** Where the login was asked for; on this site only. */
function wanted() {
  const next = new URLSearchParams(location.search).get("next") ?? "/";
  if (!URL.canParse(next, location.origin)) return "/";
  const found = new URL(next, location.origin);
  return found.origin === location.origin ? found.href : "/";
}
