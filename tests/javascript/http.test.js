// How an answer of the server, or its absence, reaches the scripts.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { afterEach, beforeEach, test } from "node:test";
import { ApiError, call, explained, loginAddress, serverTime, speakFor } from "../../services/review_ui/screen/assets/http.js";
import { open } from "./support/page.js";

const real = fetch;
/** @type {import("node:http").Server} */
let server;
/** @type {import("node:http").RequestListener} */
let answer;

beforeEach(async () => {
  open({ address: "/history?workflow=sentiment" });
  server = createServer((request, response) => answer(request, response));
  await new Promise((done) => server.listen(0, "127.0.0.1", () => done(null)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  globalThis.fetch = (path, options) => real(`http://127.0.0.1:${port}${path}`, options);
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

/** @param {Promise<unknown>} asked */
async function failure(asked) {
  const error = await asked.then(() => null, (reason) => reason);
  assert.ok(error instanceof ApiError, String(error));
  return error;
}

test("a call sends JSON in the reviewer's name and returns the answer", async () => {
  let sent = "";
  answer = async (request, response) => {
    for await (const part of request) sent += part;
    assert.equal(request.url, "/api/v1/tasks/claim");
    assert.equal(request.headers["content-type"], "application/json");
    assert.equal(request.headers["x-hitl-reviewer"], "J%C3%BCrgen");
    response.end('{"tasks": []}');
  };
  speakFor("Jürgen");
  assert.deepEqual(await call("POST", "/tasks/claim", { count: 3 }), { tasks: [] });
  assert.deepEqual(JSON.parse(sent), { count: 3 });
});

test("no content is null", async () => {
  answer = (_, response) => response.writeHead(204).end();
  assert.equal(await call("POST", "/logout"), null);
});

test("a refusal carries the API's code and message, and may not succeed later", async () => {
  answer = (_, response) => response.writeHead(409).end('{"error": {"code": "in_hand", "message": "Later."}}');
  const error = await failure(call("GET", "/me"));
  assert.deepEqual([error.status, error.code, error.message, error.temporary], [409, "in_hand", "Later.", false]);
});

for (const status of [401, 429, 500, 502, 503]) {
  test(`the same request may succeed after a ${status}, whatever its body is`, async () => {
    answer = (_, response) => response.writeHead(status).end("<h1>Bad gateway</h1>");
    const error = await failure(call("GET", "/me"));
    assert.deepEqual([error.status, error.temporary], [status, true]);
  });
}

test("a server that cannot be reached may be reached later", async () => {
  answer = (request) => request.socket.destroy();
  assert.deepEqual(await failure(call("GET", "/me")).then((error) => [error.status, error.temporary]), [0, true]);
});

test("an answer that does not come in time counts as none", async () => {
  answer = () => {};
  assert.equal((await failure(call("GET", "/me", undefined, { patience: 50 }))).status, 0);
});

test("an answer that breaks off is none", async () => {
  answer = (_, response) => {
    response.writeHead(200, { "Content-Length": "1000" }).write('{"tasks": [');
    setTimeout(() => response.destroy(), 20);
  };
  assert.equal((await failure(call("POST", "/tasks/claim", { count: 1 }))).status, 0);
});

test("a page of whatever stands before the server is no answer of the API", async () => {
  answer = (_, response) => response.end("<title>Log in to the guest network</title>");
  assert.equal((await failure(call("GET", "/me"))).status, 0);
});

test("the server's clock counts, not this machine's", async () => {
  const theirs = Date.now() + 3_600_000;
  answer = (_, response) => response.writeHead(200, { Date: new Date(theirs).toUTCString() }).end("{}");
  await call("GET", "/me");
  assert.ok(Math.abs(serverTime() - theirs) < 2_000);
});

test("the login leads back to this page", () => {
  assert.equal(loginAddress(), "/login?next=%2Fhistory%3Fworkflow%3Dsentiment");
});

test("an error is said in the page's words, else in the server's", () => {
  const words = { error_in_hand: "Somebody else is at it." };
  assert.equal(explained(new ApiError(409, "in_hand", "in hand"), words), "Somebody else is at it.");
  assert.equal(explained(new ApiError(409, "new_code", "as said"), words), "as said");
});
