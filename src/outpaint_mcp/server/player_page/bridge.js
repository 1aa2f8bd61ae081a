// The host: MCP Apps 2026-01-26, JSON-RPC 2.0 over postMessage with whoever embeds this page.

const ANSWER_SECONDS = 60;

class Host {
  /** @param {Object<string, function(Object): (Object|void)>} handlers by method: what the host asks or says. */
  constructor(handlers) {
    this.can = {};
    this.handlers = handlers;
    this.waiting = new Map();
    this.lastId = 0;
    window.addEventListener("message", (event) => {
      // Anybody with a handle on this window can post to it: only the host counts.
      if (event.source === window.parent && event.data?.jsonrpc === "2.0") this.#receive(event.data);
    });
  }

  /** Introduce this page; resolves to what the host shows it in. */
  async connect() {
    const answer = await this.request("ui/initialize", {
      appInfo: { name: "outpaint-player", title: "Outpaint player", version: "1.0.0" },
      appCapabilities: { availableDisplayModes: ["inline"] },
      protocolVersion: "2026-01-26",
    });
    this.can = answer.hostCapabilities ?? {};
    this.notify("ui/notifications/initialized");
    return answer.hostContext ?? {};
  }

  request(method, params) {
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(id);
        reject(new Error("the host did not answer"));
      }, ANSWER_SECONDS * 1000);
      this.waiting.set(id, { resolve, reject, timer });
      this.#post({ id, method, params });
    });
  }

  notify(method, params = {}) {
    this.#post({ method, params });
  }

  /** Call a tool of the server; resolves to its structured answer. */
  async callTool(name, args) {
    const result = await this.request("tools/call", { name, arguments: args });
    if (result.isError) throw new Error(textOf(result));
    return structureOf(result);
  }

  /** Read a resource of the server whose text is JSON. */
  async read(uri) {
    const { contents } = await this.request("resources/read", { uri });
    return JSON.parse(contents[0].text);
  }

  #post(message) {
    // The host's origin is not known to a page in its sandbox.
    window.parent.postMessage({ jsonrpc: "2.0", ...message }, "*");
  }

  #receive({ id, method, params, result, error }) {
    if (method === undefined) {
      const waiting = this.waiting.get(id);
      if (waiting === undefined) return;
      this.waiting.delete(id);
      clearTimeout(waiting.timer);
      if (error) waiting.reject(new Error(error.message));
      else waiting.resolve(result ?? {});
      return;
    }
    const handle = this.handlers[method];
    const answer = handle?.(params ?? {});
    if (id === undefined) return;
    if (handle) this.#post({ id, result: answer ?? {} });
    else this.#post({ id, error: { code: -32601, message: `${method} is not known here` } });
  }
}

const textOf = (result) => (result.content ?? []).map((block) => block.text ?? "").join("");

/** A tool's structured answer, which some hosts hand on as its text alone; with what is for pages only. */
function structureOf(result) {
  try {
    const answer = result.structuredContent ?? JSON.parse(textOf(result));
    return { ...answer, delete_url: result._meta?.["outpaint-mcp/deleteUrl"] };
  } catch {
    return null;
  }
}
