// How does somebody get in? Name and password to the API, which answers with the session cookie.
import { call } from "./http.js";

const form = document.querySelector("form");
const alert = document.querySelector("[role=alert]");
const button = form.querySelector("button");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  alert.textContent = "";
  button.disabled = true;
  try {
    await call("POST", "/login", { name: form.elements.name.value, password: form.elements.password.value });
    location.replace("/");
  } catch (error) {
    alert.textContent = error.message;
    form.elements.password.select();
  } finally {
    button.disabled = false;
  }
});
