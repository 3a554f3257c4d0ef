// The page as a whole, on its own template: keys decide, an undo brings back, trouble is said.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, mock, test } from "node:test";
import { mount } from "../../services/review_ui/screen/assets/card/review.js";
import words from "../../services/review_ui/screen/assets/words/en.json" with { type: "json" };
import { open, refusal, serve, settle } from "./support/page.js";
import { ADA, LEAD, task } from "./support/tasks.js";

const TEMPLATE = new URL("../../services/review_ui/screen/assets/card/review.html", import.meta.url);
const html = `<main>${readFileSync(TEMPLATE, "utf8")}</main>`;

beforeEach(() => mock.timers.enable({ apis: ["setTimeout", "setInterval"] }));
afterEach(() => mock.timers.reset());

/**
 * The page of somebody for whom these tasks wait.
 * @param {string[]} ids
 * @param {{ me?: Api.Me, address?: string, said?: (path: string, body: any) => unknown }} [given] `said`
 *   comes before what the server says otherwise
 */
async function page(ids, { me = ADA, address = "/", said = () => undefined } = {}) {
  const window = open({ address, html });
  const waiting = ids.map((id) => task(id));
  const asked = serve((path, body) => said(path, body) ?? usual(path, me, waiting));
  const main = /** @type {HTMLElement} */ (document.querySelector("main"));
  const root = /** @type {HTMLElement} */ (main.querySelector(".rv"));
  Object.defineProperty(root, "offsetParent", { value: main });
  await mount(main);
  await settle();
  const shown = (/** @type {string} */ name) => root.querySelector(`[data-id="${name}"]`)?.textContent ?? "";
  const press = async (/** @type {string} */ key) => {
    const event = new window.KeyboardEvent("keydown", { key, bubbles: true, cancelable: true });
    document.body.dispatchEvent(/** @type {any} */ (event));
    await settle();
  };
  const decided = () =>
    asked.filter(({ path }) => path.endsWith("/decision")).map(({ path, body }) => [path.split("/")[2], body]);
  return { asked, decided, press, root, shown };
}

/**
 * @param {string} path
 * @param {Api.Me} me
 * @param {Ui.Task[]} waiting
 */
function usual(path, me, waiting) {
  if (path.startsWith("/ui/words")) return words;
  if (path === "/me") return me;
  if (path === "/tasks/claim") return { tasks: waiting.splice(0) };
  if (path === "/stats") return { queues: [], me: { decided: 0, agreement: null, for_others: 0 } };
  if (path.startsWith("/decisions?")) return { decisions: [] };
  if (path.startsWith("/disputes")) return { disputed: 0, flagged: 0, flags: [] };
  return {};
}

test("a key decides and the next item is there at once", async () => {
  const { decided, press, shown } = await page(["a", "b", "c"]);
  assert.equal(shown("item"), "#item-a");
  await press("a");
  assert.equal(shown("item"), "#item-b");
  await press("1");
  await press("s");
  const sent = decided().map(([id, { action, label }]) => [id, action, label]);
  assert.deepEqual(sent, [["a", "accept", undefined], ["b", "correct", "negative"], ["c", "skip", undefined]]);
  assert.equal(shown("empty-title"), words.card.done_title);
});

test("an item without a suggestion cannot be accepted", async () => {
  const blind = task("a", { suggestion: null, blind: true });
  const said = (/** @type {string} */ path) => (path === "/tasks/claim" ? { tasks: [blind] } : undefined);
  const { decided, press, shown } = await page([], { said });
  await press("a");
  assert.deepEqual([decided(), shown("toast")], [[], words.card.blind_label]);
});

test("a note goes with the decision, and comes back with an undo", async () => {
  const { decided, press, root, shown } = await page(["a", "b"], {
    said: (path) => (path.endsWith("/undo") ? { task: task("a", { lease_token: 2 }), published: false } : undefined),
  });
  const note = /** @type {HTMLTextAreaElement} */ (root.querySelector('[data-id="note"]'));
  note.value = "  hard to say ";
  await press("s");
  assert.equal(decided()[0]?.[1].note, "hard to say");
  assert.equal(note.value, "");
  await press("u");
  assert.deepEqual([shown("item"), note.value], ["#item-a", "hard to say"]);
});

test("what is pressed after an undo is meant for the item that it brings back", async () => {
  /** @type {(value: unknown) => void} */
  let answer = () => {};
  const { decided, press, shown } = await page(["a", "b"], {
    said: (path) => (path.endsWith("/undo") ? new Promise((done) => (answer = done)) : undefined),
  });
  await press("s");
  await press("u");
  await press("2");
  assert.equal(decided().length, 1);
  answer({ task: task("a", { lease_token: 2 }), published: false });
  await settle();
  const [, [id, { action, label, lease_token }] = []] = decided();
  assert.deepEqual([id, action, label, lease_token], ["a", "correct", "positive", 2]);
  assert.equal(shown("item"), "#item-b");
});

test("what is pressed after an undo that brings nothing back is dropped", async () => {
  /** @type {(value: unknown) => void} */
  let answer = () => {};
  const { decided, press, shown } = await page(["a", "b"], {
    said: (path) => (path.endsWith("/undo") ? new Promise((done) => (answer = done)) : undefined),
  });
  await press("s");
  await press("u");
  await press("2");
  answer(refusal(409, "decided_since"));
  await settle();
  assert.deepEqual([decided().length, shown("item")], [1, "#item-b"]);
  assert.equal(shown("toast"), words.card.error_decided_since);
});

test("while the server is away decisions wait, and the page says so", async () => {
  let away = false;
  const { press, shown } = await page(["a", "b"], {
    said: (path) => (away && path.startsWith("/tasks/") ? refusal(503, "database_away") : undefined),
  });
  away = true;
  await press("a");
  assert.match(shown("banner"), new RegExp(words.card.error_database_away));
  assert.match(shown("banner"), new RegExp(words.card.away_unsent));
  away = false;
  mock.timers.tick(2_000);
  await settle();
  assert.deepEqual([shown("banner"), shown("sync")], ["", words.card.saved]);
});

test("a decision that came too late is marked as such", async () => {
  const { press, shown } = await page(["a", "b"], {
    said: (path) => (path === "/tasks/a/decision" ? refusal(409, "stale_lease") : undefined),
  });
  await press("a");
  assert.equal(shown("toast"), words.card.error_stale_lease);
  assert.match(shown("last"), new RegExp(words.card.late));
  // and an undo takes back none of it
  await press("u");
  assert.equal(shown("toast"), words.card.nothing_to_undo);
});

test("a link to a task shows it first, and a reload does not", async () => {
  const { asked, shown } = await page(["a"], {
    me: LEAD,
    address: "/?task=z&queue=urgent",
    said: (path) => {
      if (path === "/tasks/heartbeat") return { held: {}, lost: ["z"] };
      return path === "/tasks/z" || path === "/tasks/z/reopen" ? task("z", { lease_token: 4 }) : undefined;
    },
  });
  assert.equal(shown("item"), "#item-z");
  assert.ok(asked.some(({ path }) => path === "/tasks/z/reopen"));
  assert.equal(location.search, "?queue=urgent");
});

test("only leads take up what is not theirs", async () => {
  const { asked, shown } = await page(["a"], {
    address: "/?task=z",
    said: (path) => {
      if (path === "/tasks/heartbeat") return { held: {}, lost: ["z"] };
      return path === "/tasks/z" ? task("z") : undefined;
    },
  });
  assert.equal(shown("item"), "#item-a");
  assert.ok(!asked.some(({ path }) => path.endsWith("/reopen")));
  assert.match(shown("toast"), new RegExp(words.card.error_not_yours));
});

test("an undo takes back the time of its own decision and of no other", async (context) => {
  let now = 0;
  context.mock.method(performance, "now", () => now);
  const { press, shown } = await page(["a", "b", "c"], {
    said: (path) => {
      if (path.endsWith("/undo")) return { task: null, published: false };
      return path === "/tasks/b/decision" ? refusal(409, "stale_lease") : undefined;
    },
  });
  now += 10_000;
  await press("s");
  now += 2_000;
  await press("s"); // too late: it took its time all the same
  await press("u");
  assert.equal(shown("stat-median"), "2.0 s");
});
