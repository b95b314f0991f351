// Holds messages between a page and an engine's worker to app/studio/protocol.json. For the tests of both workers.

const KINDS = {
  object: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  array: Array.isArray,
  string: (value) => typeof value === "string",
  boolean: (value) => typeof value === "boolean",
  number: Number.isFinite,
  integer: Number.isInteger,
  null: (value) => value === null,
};
const KNOWN = ["description", "type", "enum", "properties", "required", "additionalProperties", "items", "anyOf", "$ref"];

export class Protocol {
  constructor(schema) {
    this.schema = schema;
    this.open = new Map(); // id -> method of each request without an answer
  }

  // What the page sends: JSON text, or [text, attachment, ...].
  asked(data) {
    const [text, ...attachments] = [data].flat(), { id, method, params, ...more } = JSON.parse(text), about = this.schema.methods[method];
    require(Number.isInteger(id) && !this.open.has(id), `the id ${id} of ${method}`);
    require(about, `there is no method ${method}`);
    require(Object.keys(more).length === 0, `${method} has ${Object.keys(more)}`);
    this.fits(about.params, params, `${method}.params`);
    this.carries(method, "params", attachments);
    this.open.set(id, method);
  }

  carries(method, part, attachments) {
    for (const { constructor: { name } } of attachments) {
      require(this.schema.methods[method].attachments?.[part]?.includes(name), `${method}.${part} comes with ${name}`);
    }
  }

  // What the worker sends: JSON text, or [text, attachment, ...].
  told(data) {
    const [text, ...attachments] = [data].flat(), message = JSON.parse(text), { id, event } = message;
    require(attachments.length === 0 || (id && (message.result || message.chunk)), `${text} comes with attachments`);
    if (id === null) return this.fits({ $ref: "error" }, message.error, "error");
    if (id === undefined) {
      require(Object.hasOwn(this.schema.events, event), `there is no event ${event}`);
      return this.fits(this.schema.events[event], message, event);
    }
    const method = this.open.get(id), about = this.schema.methods[method];
    require(about, `${text} answers no request`);
    if (event === "progress") {
      const properties = { id: {}, event: {}, stage: about.progress ?? { enum: [] }, loaded: { type: "number" }, total: { type: "number" } };
      const required = Object.keys(properties);
      return this.fits({ type: "object", properties, required, additionalProperties: false }, message, `${method}.progress`);
    }
    if (event === "chunk") {
      require(about.chunk, `${method} has no chunks`);
      this.carries(method, "chunk", attachments);
      return this.fits(about.chunk, message.chunk, `${method}.chunk`);
    }
    require(event === undefined, `there is no event ${event} of a request`);
    this.open.delete(id);
    if (message.error) return this.fits({ $ref: "error" }, message.error, `${method}.error`);
    this.fits(about.result, message.result, `${method}.result`);
    this.carries(method, "result", attachments);
  }

  fits(schema, value, where) {
    const unknown = Object.keys(schema).filter((keyword) => !KNOWN.includes(keyword));
    require(unknown.length === 0, `${where}: the schema has ${unknown}, which nothing checks`);
    const show = () => JSON.stringify(value)?.slice(0, 200);
    if (schema.$ref) {
      require(this.schema.$defs[schema.$ref], `${where}: there is no definition ${schema.$ref}`);
      this.fits(this.schema.$defs[schema.$ref], value, where);
    }
    if (schema.anyOf) {
      const why = schema.anyOf.map((each) => {
        try {
          this.fits(each, value, where);
        } catch (error) {
          return error.message;
        }
      });
      require(why.includes(undefined), why.join("; or "));
    }
    if (schema.enum) require(schema.enum.includes(value), `${where} is ${show()}, not one of ${schema.enum}`);
    if (schema.type) require([schema.type].flat().some((kind) => KINDS[kind](value)), `${where} is ${show()}, no ${schema.type}`);
    if (schema.items) value.forEach((item, n) => this.fits(schema.items, item, `${where}[${n}]`));
    for (const name of schema.required ?? []) require(value[name] !== undefined, `${where} has no ${name}: ${show()}`);
    for (const [name, each] of Object.entries(schema.properties ?? {})) {
      if (value[name] !== undefined) this.fits(each, value[name], `${where}.${name}`);
    }
    if (schema.additionalProperties === false) {
      const more = Object.keys(value).filter((name) => !Object.hasOwn(schema.properties, name));
      require(more.length === 0, `${where} has ${more}: ${show()}`);
    }
  }
}

function require(condition, message) {
  if (!condition) throw new Error(`protocol: ${message}`);
}
