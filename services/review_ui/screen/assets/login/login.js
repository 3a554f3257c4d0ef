// The login page: name and password to the API, which answers with the session cookie.
import { call, explained } from "../http.js";
import { label, words } from "../words/words.js";
import { landing } from "./landing.js";

/**
 * @template {Element} T
 * @param {string} selector
 * @param {new () => T} kind
 */
function the(selector, kind) {
  const found = document.querySelector(selector);
  if (!(found instanceof kind)) throw new Error(`no ${selector} on this page`);
  return found;
}

const form = the("form", HTMLFormElement);
const name = the("#name", HTMLInputElement);
const password = the("#password", HTMLInputElement);
const alert = the("[role=alert]", HTMLElement);
const button = the("button", HTMLButtonElement);
let known = /** @type {Partial<Ui.Parts["login"]>} */ ({});

// Not awaited: the form works from the start.
words("login").then((found) => {
  known = found;
  label(document, found);
  document.title = `${found.title} · Review`;
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  alert.textContent = "";
  button.disabled = true;
  try {
    await call("POST", "/login", { name: name.value, password: password.value });
    location.replace(landing(location));
  } catch (error) {
    alert.textContent = explained(error, known);
    password.select();
  } finally {
    button.disabled = false;
  }
});

button.disabled = false; // before, Enter would have sent the form past this script
