// What others answered, side by side and without names, so that the answer counts and not who gave
// it; only who settles the item gets to see it.
import { make, span } from "../show.js";
import { fill } from "../words/words.js";
import { wholeAnswer } from "./whole-answer.js";

/**
 * @param {Ui.At} at
 * @param {Ui.Words} words
 * @param {Api.Task} task
 */
export function showAnswers(at, words, task) {
  const { answers } = task;
  const flagged = answers.at(-1)?.label === null;
  at("answers").hidden = answers.length === 0;
  at("answers-title").textContent = flagged ? words.settle_flag : words.settle;
  const people = [...new Set(answers.map((each) => each.reviewer))];
  at("answers-list").replaceChildren(
    ...answers.map(({ reviewer, label, answer, reason, note }) => {
      const who = String.fromCharCode(65 + (people.indexOf(reviewer) % 26));
      const key = label === null ? -1 : task.labels.indexOf(label);
      const said = label ?? fill(words.flagged_for, { why: reason ?? "–" });
      const given = make("strong", "", said);
      if (key >= 0 && key < 9) given.prepend(make("kbd", "", String(key + 1)));
      const parts = [span(fill(words.answer_of, { who }), "rv-who-said"), given];
      const whole = wholeAnswer(task, answer);
      if (whole !== null && whole !== said) parts.push(make("p", "rv-whole", whole));
      if (note) parts.push(make("p", "", note));
      return make("li", label === null ? "rv-flag-said" : "", parts);
    }),
  );
}
