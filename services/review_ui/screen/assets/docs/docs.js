// What the API offers: reads the OpenAPI document and shows it; nothing from another host.
import { make, span } from "../show.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

/**
 * What these functions read of an OpenAPI document.
 * @typedef {object} Schema
 * @property {string} [$ref]
 * @property {Schema[]} [anyOf]
 * @property {unknown[]} [enum]
 * @property {unknown} [const]
 * @property {string} [type]
 * @property {string} [format]
 * @property {string} [description]
 * @property {Schema} [items]
 * @property {Record<string, Schema>} [properties]
 * @property {Schema} [additionalProperties]
 * @property {string[]} [required]
 *
 * @typedef {Record<string, Schema>} Schemas
 * @typedef {Record<string, { schema: Schema }>} Content
 *
 * @typedef {object} Operation
 * @property {string[]} [tags]
 * @property {string} [summary]
 * @property {string} [description]
 * @property {{ name: string, in: string, schema: Schema }[]} [parameters]
 * @property {{ content: Content }} [requestBody]
 * @property {Record<string, { content?: Content }>} responses
 */

/**
 * @param {Schema | undefined} schema
 * @param {Schemas} all
 * @returns {string}
 */
function typeOf(schema, all, depth = 0) {
  if (schema === undefined) return "any";
  if (schema.$ref) return typeOf(all[schema.$ref.split("/").pop() ?? ""], all, depth);
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

/**
 * @param {Content | undefined} content
 * @param {Schemas} all
 */
function body(content, all) {
  return make("pre", "", typeOf(content?.["application/json"]?.schema, all));
}

/**
 * @param {string} method
 * @param {string} path
 * @param {Operation} given
 * @param {Schemas} all
 */
function operation(method, path, given, all) {
  const heading = make("b", `rv-${method}`, method.toUpperCase());
  const about = (given.description ?? given.summary ?? "").split(/(?<=\.)\s/)[0] ?? "";
  const summary = make("summary", "", [heading, make("code", "", path), span(about)]);
  /** @type {HTMLElement[]} */
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

/** @type {{ paths: Record<string, Record<string, Operation>>, components?: { schemas: Schemas } }} */
const api = await (await fetch("/api/v1/openapi.json")).json();
/** @type {Map<string, HTMLElement[]>} */
const shown = new Map();
for (const [path, methods] of Object.entries(api.paths)) {
  for (const method of METHODS) {
    const given = methods[method];
    if (given === undefined) continue;
    const tag = given.tags?.[0] ?? "other";
    const before = shown.get(tag) ?? [make("h2", "", tag)];
    shown.set(tag, [...before, operation(method, path, given, api.components?.schemas ?? {})]);
  }
}
document.getElementById("operations")?.replaceChildren(...[...shown.values()].flat());
