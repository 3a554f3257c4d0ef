// A label to choose: its digit, its name, and how likely it is where that is known.
import { make, makeButton, percent, span } from "../show.js";

const DIGITS = 9;

/**
 * @param {string} label
 * @param {number} place among the labels
 * @param {number} [share] the probability, 0 to 1
 */
export function labelButton(label, place, share) {
  const parts = [span(label, "rv-name")];
  if (place < DIGITS) parts.unshift(make("kbd", "", String(place + 1)));
  if (share !== undefined) parts.push(span(percent(share), "rv-share"));
  const button = makeButton("rv-button rv-label", parts);
  button.dataset.act = "label";
  button.dataset.index = String(place);
  if (place < DIGITS) button.setAttribute("aria-keyshortcuts", String(place + 1));
  if (share !== undefined) {
    const bar = make("span", "rv-bar");
    bar.style.width = `${share * 100}%`;
    button.append(bar);
  }
  return button;
}
