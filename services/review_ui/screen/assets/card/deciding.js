// A decision on its way: to the outbox at once while the next item is shown, and back by an undo.
import { ApiError, call, passing } from "../http.js";
import { fill } from "../words/words.js";
import { newKey } from "./outbox.js";

const LONGEST_SECONDS = 86_400; // as the API takes it

export class Deciding {
  /** @param {import("./screen.js").Screen} screen */
  constructor(screen) {
    this.screen = screen;
  }

  /**
   * Hands the decision to the outbox and shows the next item, in this order and without waiting.
   * @param {Exclude<Api.Action, "label">} action
   * @param {Ui.Given | null} [given]
   * @param {string | null} [reason]
   */
  decide(action, given = null, reason = null) {
    const { at, buffer, card, day, outbox, words } = this.screen;
    const task = buffer.current;
    if (task === undefined) return;
    const { work, idle } = card.attention.taken();
    const key = newKey();
    const note = at("note").value.trim();
    const body = {
      ...said(key, task, action, given),
      ...(reason && { reason }),
      ...(note && { note }),
      seconds: Math.min(work, LONGEST_SECONDS),
      idle_seconds: idle,
    };
    const label = given?.brief ?? null;
    const answer = given?.answer;
    const changed = action !== "accept" && label !== task.suggestion?.label && !task.blind;
    day.add({ key, task, label, answer, action, changed, late: false, note, took: work });
    buffer.next();
    const what = label ?? (action === "skip" ? words.skipped : words.flagged);
    this.screen.show(fill(words.recorded, { what }));
    outbox.add({ key, taskId: task.id, at: Date.now(), body });
    day.showLast();
  }

  /**
   * Takes the last decision that counts back.
   * @returns {Promise<boolean>} whether its item is on the card again
   */
  async undo() {
    const { buffer, day, messages, words } = this.screen;
    const last = day.decided.find((each) => !each.late);
    if (last === undefined) {
      messages.toast(words.nothing_to_undo);
      return false;
    }
    try {
      const taken = await this.#takeBack(last);
      if (taken === null) return false;
      const { task, said: told } = taken;
      day.drop(last);
      if (task !== null) buffer.putFirst(again(task, last));
      messages.toast(told);
      return task !== null;
    } catch (error) {
      if (!passing(error)) day.drop(last);
      messages.toast(messages.explained(error));
      return false;
    } finally {
      day.showLast();
      day.load();
    }
  }

  /**
   * From the outbox while it has not left, else from the server; null: it has been refused meanwhile.
   * @param {Ui.Decided} last
   * @returns {Promise<{ task: Ui.Task | null, said: string } | null>}
   */
  async #takeBack(last) {
    const { outbox, words } = this.screen;
    if (last.task !== null && outbox.remove(last.key)) return { task: last.task, said: words.undone };
    await outbox.settled(last.key);
    if (last.late) return null;
    const { task, published } = await call("POST", `/decisions/${last.key}/undo`);
    if (task === null) return { task, said: words.undone_elsewhere };
    return { task, said: published ? words.undone_published : words.undone };
  }

  /**
   * The server will never take this decision.
   * @param {Ui.Entry} entry
   * @param {unknown} error
   */
  refused(entry, error) {
    const { day, messages, words } = this.screen;
    const known = day.decided.find((each) => each.key === entry.key);
    if (known) known.late = true;
    const why = messages.explained(error);
    // Still ours, and wrong in a way that only the server knows: back to whoever answered.
    const bad = error instanceof ApiError && error.code === "bad_answer";
    if (bad && known?.task) this.screen.buffer.putFirst(again(known.task, known));
    const stale = error instanceof ApiError && error.code === "stale_lease";
    messages.toast(stale ? why : fill(words.refused, { why }));
    day.showLast();
  }
}

/**
 * @param {string} key
 * @param {Ui.Task} task
 * @param {Api.Action} action
 * @param {Ui.Given | null} given
 * @returns {Api.Decide}
 */
function said(key, task, action, given) {
  const decision = { key, lease_token: task.lease_token, action };
  if (action !== "correct" || given === null) return decision;
  const { answer } = given;
  return { ...decision, ...(task.kind === "label" ? { label: String(answer.label) } : { answer }) };
}

/**
 * The task as its reviewer left it.
 * @param {Ui.Task} task
 * @param {Ui.Decided} decided
 * @returns {Ui.Task}
 */
function again(task, { answer, note }) {
  return { ...task, begun: answer, noted: note };
}
