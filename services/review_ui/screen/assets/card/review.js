// Starts the review page: asks who is there and for the words, then puts the screen together.
import { call, loggedOut, loginAddress, speakFor } from "../http.js";
import { words } from "../words/words.js";
import { Screen } from "./screen.js";

const AGAIN_MS = 2_000;

/** @param {HTMLElement} element Gradio's component around the template */
export async function mount(element) {
  const root = /** @type {HTMLElement | null} */ (element.querySelector(".rv"));
  if (root === null || root.dataset.mounted) return; // Gradio may render its component again
  root.dataset.mounted = "yes";
  try {
    const [me, known] = await Promise.all([call("GET", "/me"), words("card")]);
    speakFor(me.name);
    new Screen(root, me, known).start();
  } catch (error) {
    if (loggedOut(error)) location.replace(loginAddress());
    else setTimeout(() => (delete root.dataset.mounted, mount(element)), AGAIN_MS);
  }
}
