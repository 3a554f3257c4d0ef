// How does somebody get in? Name and password to the API, which answers with the session cookie.
import { call } from "./http.js";
import { label, words } from "./words.js";

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
    location.replace("/");
  } catch (error) {
    alert.textContent = known[`error_${error.code}`] ?? error.message;
    form.elements.password.select();
  } finally {
    button.disabled = false;
  }
});
