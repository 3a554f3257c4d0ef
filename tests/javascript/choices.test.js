// What the reviewer chose stands in the address and is kept; chips and the dialog change it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Choices } from "../../services/review_ui/screen/assets/card/choices.js";
import { Filters } from "../../services/review_ui/screen/assets/card/filters.js";
import { elements, open } from "./support/page.js";
import { ADA, LEAD } from "./support/tasks.js";
import words from "../../services/review_ui/screen/assets/words/en.json" with { type: "json" };

/**
 * @param {string} address
 * @param {Api.Me} [me]
 */
function choosing(address, me = ADA) {
  open({ address });
  return again(me);
}

/** @param {Api.Me} [me] */
function again(me = ADA) {
  const at = elements();
  /** @type {Api.Filter[]} */
  const heard = [];
  const choices = new Choices(at, words.card, me, (filter) => heard.push(filter));
  return { at, choices, heard };
}

test("the address is read: shares in per cent, and nothing that makes no sense", () => {
  const { choices } = choosing("/?workflow=spam&queue=urgent&label=ham&min=55.5&max=170&q=%20free%20");
  assert.deepEqual(choices.filter, {
    workflow: "spam",
    queue: "urgent",
    label: "ham",
    min_confidence: 0.555,
    q: "free",
  });
});

test("a workflow that is not the reviewer's is not asked for", () => {
  assert.deepEqual(choosing("/?workflow=payroll&label=ham").choices.filter, { label: "ham" });
});

test("only leads ask for what waits for a lead", () => {
  assert.deepEqual(choosing("/?only=flagged").choices.filter, {});
  assert.deepEqual(choosing("/?only=flagged", LEAD).choices.filter, { only: "flagged" });
  assert.deepEqual(choosing("/?only=everything", LEAD).choices.filter, {});
});

test("a choice goes to the address, the caller and back; an empty value takes it away", () => {
  const { choices, heard } = choosing("/?theme=dark");
  choices.set({ label: "positive", min_confidence: 0.145, max_confidence: 0 });
  assert.equal(location.search, "?theme=dark&label=positive&min=14.5&max=0");
  assert.deepEqual(again().choices.filter, choices.filter);
  choices.set({ label: "", min_confidence: "", max_confidence: "" });
  assert.equal(location.search, "?theme=dark");
  assert.deepEqual(heard.at(-1), {});
});

test("another workflow has other queues and labels", () => {
  const { choices } = choosing("/?workflow=spam&queue=urgent&label=ham&q=free");
  choices.set({ workflow: "sentiment" });
  assert.deepEqual(choices.filter, { workflow: "sentiment", q: "free" });
});

test("workflow and queue are kept for the next time, the rest is not", () => {
  choosing("/").choices.set({ workflow: "spam", q: "free" });
  history.replaceState(null, "", "/");
  assert.deepEqual(again().choices.filter, { workflow: "spam" });
  // but an address counts more, and nobody gets another's choice
  history.replaceState(null, "", "/?label=ham");
  assert.deepEqual(again().choices.filter, { label: "ham" });
  history.replaceState(null, "", "/");
  assert.deepEqual(again(LEAD).choices.filter, {});
});

test("what is kept of a workflow that is gone is forgotten, and so is what cannot be read", () => {
  open();
  localStorage.setItem("hitl-filter:ada", JSON.stringify({ workflow: "gone", queue: "urgent" }));
  assert.deepEqual(again().choices.filter, {});
  for (const broken of ["{", "null", "3"]) {
    localStorage.setItem("hitl-filter:ada", broken);
    assert.deepEqual(again().choices.filter, {});
  }
});

test("looking at the item or at what the AI thinks leaves blind items out", () => {
  assert.equal(choosing("/?workflow=spam&queue=urgent").choices.narrows, false);
  for (const part of ["label=ham", "min=1", "max=99", "q=free"]) {
    assert.equal(choosing(`/?${part}`).choices.narrows, true, part);
  }
});

test("the queues of the chosen workflow are offered, each once", () => {
  const { at, choices } = choosing("/?workflow=spam");
  const counts = [["spam", "b"], ["spam", "a"], ["spam", "b"], ["sentiment", "c"]].map(
    ([workflow, queue]) => /** @type {Api.QueueStats} */ ({ workflow, queue, open: 1 }),
  );
  choices.offerQueues(counts);
  assert.deepEqual([...at("queue").options].map(({ value }) => value), ["", "a", "b"]);
});

test("each part of the filter has a chip that takes it away", () => {
  const { at, choices } = choosing("/?label=ham&min=90&max=99.5&only=disputed", LEAD);
  const filters = new Filters(at, words.card, LEAD, choices);
  const texts = () => [...at("chips").children].map(({ textContent }) => textContent);
  assert.equal(texts().length, 4);
  assert.match(texts().join(), /ham.*90 %.*99\.5 %/);
  /** @type {HTMLElement} */ (at("chips").children[0]).click();
  filters.show();
  assert.deepEqual(choices.filter, { min_confidence: 0.9, max_confidence: 0.995, only: "disputed" });
  assert.equal(texts().length, 3);
});

test("the dialog shows what is chosen and chooses what it shows", () => {
  const { at, choices } = choosing("/?workflow=spam&label=old&min=14.5&q=free");
  const filters = new Filters(at, words.card, ADA, choices);
  filters.open();
  // A label that is not configured any more is still offered while it is chosen
  assert.deepEqual([...at("filter-label").options].map(({ value }) => value), ["", "ham", "spam", "old"]);
  assert.deepEqual([at("filter-label").value, at("filter-min").value, at("filter-max").value], ["old", "14.5", ""]);
  at("filter-label").value = "";
  at("filter-max").value = "0";
  at("filter-q").value = "  ";
  at("filter-form").dispatchEvent(new Event("submit", { cancelable: true }));
  assert.deepEqual(choices.filter, { workflow: "spam", min_confidence: 0.145, max_confidence: 0 });
});
