// What did others answer? Side by side and without names, so that the answer counts and not who
// gave it; only who settles the item gets to see it.
import { make, span } from "../show.js";
import { fill } from "../words/words.js";

export function showAnswers(at, words, task) {
  const flagged = task.answers.length > 0 && task.answers.at(-1).label === null;
  at("answers").hidden = task.answers.length === 0;
  at("answers-title").textContent = flagged ? words.settle_flag : words.settle;
  const people = [...new Set(task.answers.map((each) => each.reviewer))];
  at("answers-list").replaceChildren(
    ...task.answers.map(({ reviewer, label, reason, note }) => {
      const who = String.fromCharCode(65 + (people.indexOf(reviewer) % 26));
      const key = task.labels.indexOf(label);
      const parts = [span(fill(words.answer_of, { who }), "rv-who-said")];
      const given = make("strong", "", label ?? fill(words.flagged_for, { why: reason ?? "–" }));
      if (key >= 0 && key < 9) given.prepend(make("kbd", "", String(key + 1)));
      parts.push(given);
      if (note) parts.push(make("p", "", note));
      return make("li", label === null ? "rv-flag-said" : "", parts);
    }),
  );
}
