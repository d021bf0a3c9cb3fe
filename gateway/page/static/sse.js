// Server-sent events from pieces of text, as the HTML standard reads them.

/** Feed it text; it calls `deliver({event, data, id})` for each whole event. `retry` is in ms once it was told. */
export class Parser {
  constructor(deliver) {
    this.deliver = deliver;
    this.retry = null;
    this.rest = "";
    this.fresh();
  }

  fresh() {
    this.event = "message";
    this.data = [];
    this.id = null;
  }

  feed(text) {
    const searched = this.rest.length;
    this.rest += text;
    let start = 0;
    let end = this.rest.indexOf("\n", searched);
    while (end >= 0) {
      const stop = end > start && this.rest[end - 1] === "\r" ? end - 1 : end;
      this.line(this.rest.slice(start, stop));
      start = end + 1;
      end = this.rest.indexOf("\n", start);
    }
    if (start) this.rest = this.rest.slice(start);
  }

  line(line) {
    if (line === "") {
      if (this.data.length) this.deliver({ event: this.event, data: this.data.join("\n"), id: this.id });
      this.fresh();
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "event") this.event = value;
    else if (field === "data") this.data.push(value);
    else if (field === "id") this.id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
  }
}
