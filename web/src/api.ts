/** The server: its addresses, and its errors in words for people. */

export interface Entity {
  row: number;
  id: string;
  title: string;
}

export interface Space {
  name: string;
  rows: number;
  dim: number;
  metric: "cosine" | "dot" | "euclidean";
  fingerprint: string;
  licence: string;
  columns: string[];
  layout: boolean;
  concepts: string[];
  likes: string | null;
  wordings: string[];
}

export interface Support {
  percentile: number;
  centre: number;
  verdict: "real" | "far" | "central";
  entity: boolean;
  text: string;
}

export interface PointReport {
  space: string;
  source: string;
  sources: string[];
  entity: Entity | null;
  notes: string[];
  at: [number, number] | null;
  support: Support;
  base64: string;
}

/** Mean centred cosines of held-out entities with the vectors of their places on the map, and with a random one. */
export interface Accuracy {
  place: number;
  nearest: number;
  random: number;
  count: number;
}

export interface Attribute {
  name: string;
  kind: "number" | "category" | "list" | "text";
  values?: string[];
  counts?: number[];
  low?: number | null;
  high?: number | null;
}

export interface Neighbor extends Entity {
  similarity: number;
}

export interface Facts {
  count: number;
  shares: { attribute: string; value: string; inside: number; outside: number }[];
  numbers: { attribute: string; inside: number; outside: number }[];
}

/** What the nearest training entities of a vector have in common. */
export interface Probe {
  count: number;
  numbers: { attribute: string; median: number; low: number; high: number }[];
  values: { attribute: string; value: string; share: number }[];
}

/** An error that the page tells people. */
export class ServerError extends Error {
  constructor(
    message: string,
    readonly status = 0,
    readonly code = "",
    readonly wait = 0,
  ) {
    super(message);
  }
}

const LOST = "No connection to the server. Is `vectalk serve` still running?";
const KEY = "vectalk-key";

export class Api {
  setKey(key: string): void {
    sessionStorage.setItem(KEY, key);
  }

  /** Send a request; a failure becomes a ServerError. */
  async request(path: string, options: RequestInit = {}): Promise<Response> {
    const headers = new Headers(options.headers);
    const key = sessionStorage.getItem(KEY);
    if (key) headers.set("authorization", `Bearer ${key}`);
    let response: Response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new ServerError(LOST, 0, "lost");
    }
    if (!response.ok) throw await this.failure(response);
    return response;
  }

  private async failure(response: Response): Promise<ServerError> {
    const wait = Number(response.headers.get("retry-after") ?? 0) || 0;
    let message = `The server answered with status ${response.status}.`;
    let code = "";
    try {
      const body = await response.json();
      message = String(body.error.message);
      code = String(body.error.code ?? "");
    } catch {
      // The status is all there is to tell.
    }
    if (response.status === 429) message = `The server is busy: ${message}.`;
    if (code === "draining") message = "The server is stopping and takes no more questions.";
    return new ServerError(message, response.status, code, wait);
  }

  async get<T>(path: string, signal?: AbortSignal): Promise<T> {
    return (await this.request(path, { signal })).json();
  }

  async post<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
    const headers = { "content-type": "application/json" };
    return (await this.request(path, { method: "POST", headers, body: JSON.stringify(body), signal })).json();
  }

  async models(): Promise<string> {
    const list = await this.get<{ data: { id: string }[] }>("v1/models");
    return list.data[0]?.id ?? "";
  }

  async spaces(): Promise<Space[]> {
    return (await this.get<{ spaces: Space[] }>("api/spaces")).spaces;
  }

  async layout(space: string): Promise<Float32Array> {
    return new Float32Array(await (await this.request(this.path(space, "layout"))).arrayBuffer());
  }

  async attributes(space: string): Promise<Attribute[]> {
    return (await this.get<{ attributes: Attribute[] }>(this.path(space, "attributes"))).attributes;
  }

  /** Return one number for each entity: float32 of a number, uint16 codes of a category, uint8 of a mask. */
  async colours(space: string, name: string, value: string | null): Promise<Float32Array | Uint16Array | Uint8Array> {
    const query = value === null ? "" : `?value=${encodeURIComponent(value)}`;
    const response = await this.request(`${this.path(space, "attribute")}/${encodeURIComponent(name)}${query}`);
    const buffer = await response.arrayBuffer();
    const kind = response.headers.get("x-kind");
    if (kind === "number") return new Float32Array(buffer);
    return kind === "mask" ? new Uint8Array(buffer) : new Uint16Array(buffer);
  }

  async search(space: string, text: string, limit: number, signal?: AbortSignal): Promise<Entity[]> {
    const query = `?q=${encodeURIComponent(text)}&limit=${limit}`;
    return (await this.get<{ entities: Entity[] }>(this.path(space, "search") + query, signal)).entities;
  }

  async titles(space: string, rows: number[]): Promise<Entity[]> {
    if (!rows.length) return [];
    return (await this.get<{ entities: Entity[] }>(`${this.path(space, "titles")}?rows=${rows.join(",")}`)).entities;
  }

  async entity(space: string, row: number): Promise<Entity & { facts: Record<string, unknown>; point: PointReport }> {
    return this.get(`${this.path(space, "entity")}?row=${row}`);
  }

  async place(space: string, x: number, y: number): Promise<PointReport & { nearest: Entity[]; accuracy: Accuracy | null }> {
    return this.post(this.path(space, "place"), { x, y });
  }

  async resolve(space: string, point: { expression: string } | { base64: string }): Promise<PointReport> {
    return this.post(this.path(space, "resolve"), point);
  }

  async neighbors(space: string, base64: string, k: number): Promise<Neighbor[]> {
    return (await this.post<{ neighbors: Neighbor[] }>(this.path(space, "neighbors"), { base64, k })).neighbors;
  }

  async likes(space: string, likes: string[]): Promise<PointReport & { liked: string[]; next: Entity[]; at_items: [number, number] | null }> {
    return this.post(this.path(space, "likes"), { likes });
  }

  async probe(space: string, base64: string, exclude: number | null): Promise<Probe> {
    return this.post(this.path(space, "probe"), { base64, exclude });
  }

  async facts(space: string, rows: number[]): Promise<Facts> {
    return this.post(this.path(space, "facts"), { rows });
  }

  async mentions(space: string, text: string): Promise<Entity[]> {
    const reply = await this.post<{ mentions: Entity[] }>(this.path(space, "mentions"), { text });
    return reply.mentions;
  }

  private path(space: string, name: string): string {
    return `api/spaces/${encodeURIComponent(space)}/${name}`;
  }
}
