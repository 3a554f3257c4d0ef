// A certain task on the card: one that another page sent here (/?task=…), one's own, or one for a lead
// to take up.
import { ApiError, call } from "../http.js";
import { fill } from "../words/words.js";

const SHOWN_MS = 8_000;

/**
 * What the address asks for, if anything; asked once, a reload shows the buffer again.
 * @param {import("./screen.js").Screen} screen
 */
export async function takeUpFirst(screen) {
  await screen.buffer.recover();
  const query = new URLSearchParams(location.search);
  const id = query.get("task");
  if (id === null) return;
  query.delete("task");
  history.replaceState(null, "", query.size > 0 ? `/?${query}` : "/");
  await takeUp(screen, id);
}

/**
 * Shows the task of this id first: one that is leased to me already, or that I may reopen.
 * @param {import("./screen.js").Screen} screen
 * @param {string} id
 */
export async function takeUp({ buffer, leading, leads, messages, words }, id) {
  const known = encodeURIComponent(id);
  try {
    let task = await call("GET", `/tasks/${known}`);
    const lease = { task_id: task.id, lease_token: task.lease_token };
    const { held } = await call("POST", "/tasks/heartbeat", { leases: [lease] });
    if (!(task.id in held)) {
      if (!leading) throw new ApiError(403, "not_yours", words.error_not_yours);
      task = await call("POST", `/tasks/${known}/reopen`);
    }
    buffer.putFirst(task);
    if (leading) leads.load();
  } catch (error) {
    messages.toast(fill(words.not_taken_up, { why: messages.explained(error) }), SHOWN_MS);
  }
}
