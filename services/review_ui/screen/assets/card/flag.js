// Why an item is flagged: a dialog with reasons by digit, and room for one's own.
import { digit } from "./keys.js";
import { make, makeButton, span } from "../show.js";

/**
 * Fills the dialog.
 * @param {Ui.At} at
 * @param {Ui.Words} words
 * @param {Set<string>} kinds of answers that somebody here is asked for
 * @param {(reason: string) => void} chosen once there is one
 */
export function offerReasons(at, words, kinds, chosen) {
  const labels = [...kinds].every((kind) => ["label", "labels", "spans"].includes(kind));
  const unfit = labels ? words.flag_reason_3 : words.flag_reason_answer;
  const reasons = [words.flag_reason_1, words.flag_reason_2, unfit];
  reasons.forEach((reason, index) => {
    const parts = [make("kbd", "", String(index + 1)), span(reason)];
    at("reasons").append(makeButton("rv-button", parts, () => chosen(reason)));
  });
  at("flag-dialog").addEventListener("keydown", (event) => {
    if (event.target === at("flag-text")) {
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        sendOwnReason(at, chosen);
      }
      return;
    }
    const reason = reasons[(digit(event) ?? 0) - 1];
    if (reason !== undefined && !event.repeat) {
      event.preventDefault();
      chosen(reason);
    }
  });
}

/** @param {Ui.At} at */
export function openReasons(at) {
  at("flag-text").value = "";
  at("flag-dialog").showModal();
}

/**
 * @param {Ui.At} at
 * @param {(reason: string) => void} chosen
 */
export function sendOwnReason(at, chosen) {
  const reason = at("flag-text").value.trim();
  if (reason) chosen(reason);
  else at("flag-text").focus();
}
