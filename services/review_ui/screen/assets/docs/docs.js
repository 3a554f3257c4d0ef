// What does the API offer? Reads the OpenAPI document and shows it; nothing from another host.
import { make, span } from "../show.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

function typeOf(schema, all, depth = 0) {
  if (schema === undefined) return "any";
  if (schema.$ref) return typeOf(all[schema.$ref.split("/").pop()], all, depth);
  if (schema.anyOf) return schema.anyOf.map((each) => typeOf(each, all, depth)).join(" | ");
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `[${typeOf(schema.items, all, depth)}]`;
  if (schema.properties === undefined) {
    const values = schema.additionalProperties;
    if (values?.type || values?.$ref) return `{…: ${typeOf(values, all, depth)}}`;
    return schema.format ?? schema.type ?? "any";
  }
  const indent = "  ".repeat(depth + 1);
  const lines = Object.entries(schema.properties).map(([name, inner]) => {
    const optional = schema.required?.includes(name) ? "" : "?";
    const about = inner.description ? `  // ${inner.description}` : "";
    return `${indent}${name}${optional}: ${typeOf(inner, all, depth + 1)},${about}`;
  });
  return `{\n${lines.join("\n")}\n${"  ".repeat(depth)}}`;
}

function body(content, all) {
  return make("pre", "", typeOf(content?.["application/json"]?.schema, all));
}

function operation(method, path, given, all) {
  const heading = make("b", `rv-${method}`, method.toUpperCase());
  const about = (given.description ?? given.summary ?? "").split(/(?<=\.)\s/)[0];
  const summary = make("summary", "", [heading, make("code", "", path), span(about)]);
  const parts = [make("p", "", given.description ?? "")];
  for (const each of given.parameters ?? []) {
    parts.push(make("h3", "", `${each.name} (${each.in})`));
    parts.push(make("pre", "", typeOf(each.schema, all)));
  }
  if (given.requestBody) parts.push(make("h3", "", "Send"), body(given.requestBody.content, all));
  for (const [status, answer] of Object.entries(given.responses)) {
    if (status >= "400") continue;
    parts.push(make("h3", "", `Answer ${status}`));
    if (answer.content) parts.push(body(answer.content, all));
  }
  const refusals = Object.keys(given.responses).filter((status) => status >= "400");
  parts.push(make("h3", "", `Refusals: ${refusals.join(", ")}`));
  return make("details", "", [summary, make("div", "", parts)]);
}

const api = await (await fetch("/api/v1/openapi.json")).json();
const shown = new Map();
for (const [path, methods] of Object.entries(api.paths)) {
  for (const method of METHODS) {
    const given = methods[method];
    if (given === undefined) continue;
    const tag = given.tags?.[0] ?? "other";
    if (!shown.has(tag)) shown.set(tag, [make("h2", "", tag)]);
    shown.get(tag).push(operation(method, path, given, api.components?.schemas ?? {}));
  }
}
document.getElementById("operations").replaceChildren(...[...shown.values()].flat());
