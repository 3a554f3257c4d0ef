// The whole of an answer in lines, where its short line may not say enough to choose between two.
import { CodePoints } from "./code-points.js";

/**
 * Null: the short line says all.
 * @param {Pick<Api.Task, "text" | "candidates">} task
 * @param {Ui.Answer | null | undefined} answer
 * @returns {string | null}
 */
export function wholeAnswer(task, answer) {
  if (!answer) return null;
  const { form, preferred, spans, text } = answer;
  if (typeof text === "string") return text;
  if (typeof preferred === "number") return task.candidates?.[preferred] ?? null;
  if (form instanceof Object) {
    const fields = Object.entries(form).map(([name, value]) => `${name}: ${plain(value)}`);
    return fields.join("\n");
  }
  if (Array.isArray(spans) && spans.length > 0) {
    const points = new CodePoints(task.text);
    const words = spans.map(({ start, end, label }) => {
      return `${label}: ${task.text.slice(points.unit(start), points.unit(end))}`;
    });
    return words.join("\n");
  }
  return null;
}

/** @param {unknown} value */
function plain(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}
