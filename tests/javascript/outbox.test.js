// A decision stays in the browser until the server has confirmed it.
import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { newKey, Outbox } from "../../services/review_ui/screen/assets/card/outbox.js";
import { open, refusal, serve, settle } from "./support/page.js";

/** @type {string[]} */
let told;

beforeEach(() => {
  open();
  told = [];
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

/** @param {string} [owner] */
function outbox(owner = "ada") {
  return new Outbox(owner, {
    changed: () => {},
    answered: ({ taskId }) => told.push(`answered ${taskId}`),
    refused: ({ taskId }, error) => told.push(`refused ${taskId}: ${error}`),
  });
}

/**
 * @param {string} taskId
 * @param {number} [at]
 * @returns {Ui.Entry}
 */
function entry(taskId, at = 0) {
  const key = newKey();
  return { key, taskId, at, body: { key, lease_token: 1, action: "skip" } };
}

test("decisions are sent one after another in their order", async () => {
  const asked = serve(() => ({}));
  const sent = outbox();
  for (const id of ["a", "b", "c"]) sent.add(entry(id));
  await settle();
  assert.deepEqual(asked.map(({ path }) => path), ["a", "b", "c"].map((id) => `/tasks/${id}/decision`));
  assert.deepEqual(told, ["answered a", "answered b", "answered c"]);
  assert.equal(localStorage.length, 0);
});

test("what a closed page had not sent is sent by the next one, the oldest first", async () => {
  serve(() => Promise.reject(new TypeError("no network")));
  const before = outbox();
  before.add(entry("late", 2));
  before.add(entry("early", 1));
  await settle();
  const asked = serve(() => ({}));
  await outbox().flush();
  assert.deepEqual(asked.map(({ path }) => path), ["/tasks/early/decision", "/tasks/late/decision"]);
});

test("what cannot be read in the storage is dropped and hides nothing", async () => {
  const asked = serve(() => ({}));
  const kept = entry("a");
  localStorage.setItem("hitl-unsent:ada:broken", '{"key": "');
  localStorage.setItem(`hitl-unsent:ada:${kept.key}`, JSON.stringify(kept));
  await outbox().flush();
  assert.deepEqual([asked.length, localStorage.length], [1, 0]);
});

test("nobody sends what another reviewer decided in this browser", async () => {
  serve(() => Promise.reject(new TypeError("no network")));
  outbox("ada").add(entry("a"));
  await settle();
  const asked = serve(() => ({}));
  await outbox("eve").flush();
  assert.deepEqual(asked, []);
  assert.equal(localStorage.length, 1);
});

test("while the server is away it is asked again, later and later, with the same key", async () => {
  let away = true;
  const asked = serve(() => (away ? refusal(503, "database_away") : {}));
  const sent = outbox();
  sent.add(entry("a"));
  await settle();
  assert.ok(sent.trouble);
  mock.timers.tick(500);
  await settle();
  mock.timers.tick(500);
  await settle();
  assert.equal(asked.length, 2);
  away = false;
  mock.timers.tick(500);
  await settle();
  assert.deepEqual([asked.length, sent.size, sent.trouble], [3, 0, null]);
  assert.equal(new Set(asked.map(({ body }) => body.key)).size, 1);
});

test("a decision that the server will never take is told and does not hold up the next", async () => {
  serve((path) => (path.includes("/a/") ? refusal(409, "stale_lease") : {}));
  const sent = outbox();
  sent.add(entry("a"));
  sent.add(entry("b"));
  await settle();
  assert.deepEqual(told, ["refused a: Error: said: stale_lease", "answered b"]);
  assert.equal(sent.size, 0);
});

test("a decision that has not left is taken back; one that has may have arrived", async () => {
  /** @type {(value: object) => void} */
  let arrive = () => {};
  serve(() => new Promise((done) => (arrive = done)));
  const sent = outbox();
  const [leaving, waiting] = [entry("a"), entry("b")];
  sent.add(leaving);
  sent.add(waiting);
  assert.equal(sent.remove(leaving.key), false);
  assert.equal(sent.remove(waiting.key), true);
  arrive({});
  await settle();
  assert.deepEqual(told, ["answered a"]);
});

test("what a proxy answers in the server's place confirms nothing", async () => {
  serve(() => new Response("<title>Log in to the guest network</title>"));
  const sent = outbox();
  sent.add(entry("a"));
  await settle();
  assert.deepEqual([told, sent.size], [[], 1]);
});

test("what goes wrong after a confirmation does not make it a refusal", async () => {
  serve(() => ({}));
  const sent = outbox();
  sent.on.answered = () => {
    throw new Error("the screen is broken");
  };
  sent.entries.push(entry("a"));
  await assert.rejects(sent.flush(), /the screen is broken/);
  assert.deepEqual([told, sent.size], [[], 0]);
  // and the next one is sent all the same
  sent.on.answered = ({ taskId }) => told.push(`answered ${taskId}`);
  sent.add(entry("b"));
  await settle();
  assert.deepEqual(told, ["answered b"]);
});

test("where the browser keeps nothing, decisions are sent from memory", async () => {
  const shut = () => {
    throw new DOMException("forbidden", "SecurityError");
  };
  const storage = new Proxy({}, { get: shut, ownKeys: shut });
  Object.defineProperty(globalThis, "localStorage", { value: storage, configurable: true });
  serve(() => ({}));
  const sent = outbox();
  sent.add(entry("a"));
  await settle();
  assert.deepEqual([told, sent.size, sent.safe], [["answered a"], 0, false]);
});

test("a key is a random UUID of version 4", () => {
  const keys = Array.from({ length: 200 }, newKey);
  for (const key of keys) assert.match(key, /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
  assert.equal(new Set(keys).size, keys.length);
});

test("what was tried in vain may have arrived: it is undone through the server, not taken back here", async () => {
  serve(() => Promise.reject(new TypeError("no network")));
  const sent = outbox();
  const untried = entry("untried", 1);
  const tried = entry("tried", 0);
  sent.add(tried);
  sent.add(untried);
  await settle();
  assert.equal(sent.sending, null);
  assert.equal(sent.remove(tried.key), false);
  assert.equal(sent.remove(untried.key), true);
  assert.deepEqual(sent.entries.map(({ taskId }) => taskId), ["tried"]);
});
