// Why is an item flagged? A dialog with reasons by digit, and room for one's own.
import { digit } from "./keys.js";
import { make, span } from "../show.js";

/** Fills the dialog; chosen(reason) once there is one. */
export function offerReasons(at, words, chosen) {
  const reasons = [words.flag_reason_1, words.flag_reason_2, words.flag_reason_3];
  reasons.forEach((reason, index) => {
    const button = make("button", "rv-button", [make("kbd", "", String(index + 1)), span(reason)]);
    button.type = "button";
    button.addEventListener("click", () => chosen(reason));
    at("reasons").append(button);
  });
  at("flag-dialog").addEventListener("keydown", (event) => {
    if (event.target.matches("textarea")) {
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        sendOwnReason(at, chosen);
      }
      return;
    }
    const reason = reasons[digit(event) - 1];
    if (reason !== undefined && !event.repeat) {
      event.preventDefault();
      chosen(reason);
    }
  });
}

export function openReasons(at) {
  at("flag-text").value = "";
  at("flag-dialog").showModal();
}

export function sendOwnReason(at, chosen) {
  const reason = at("flag-text").value.trim();
  if (reason) chosen(reason);
  else at("flag-text").focus();
}
