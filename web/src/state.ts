/** What people have chosen, and the link that keeps it. */

export type Spot = { row: number } | { x: number; y: number };
export type Tool = "point" | "path" | "concept" | "likes";

export interface Choice {
  space: string;
  spot: Spot | null;
  other: Spot | null;
  tool: Tool;
  /** Place on the path: 0 is the first point, 1 the second. */
  share: number;
  concept: string | null;
  /** Standard deviations along the concept. */
  steps: number;
  /** Rows of liked entities. */
  likes: number[];
  question: string | null;
  colour: { attribute: string; value: string | null } | null;
}

export const TOOLS: Tool[] = ["point", "path", "concept", "likes"];

export function isRow(spot: Spot | null): spot is { row: number } {
  return spot !== null && "row" in spot;
}

export function same(a: Spot | null, b: Spot | null): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

export function fresh(space: string): Choice {
  return {
    space, spot: null, other: null, tool: "point", share: 0.5, concept: null, steps: 2, likes: [], question: null,
    colour: null,
  };
}

type Listener = (now: Choice, before: Choice) => void;

export class Store {
  private listeners: Listener[] = [];

  constructor(
    public choice: Choice,
    private fingerprint: (space: string) => string,
  ) {}

  on(listener: Listener): void {
    this.listeners.push(listener);
  }

  /** Change the choice, tell everybody, and write the link. */
  set(changes: Partial<Choice>): void {
    const before = this.choice;
    this.choice = { ...before, ...changes };
    history.replaceState(null, "", `#${encode(this.choice, this.fingerprint(this.choice.space))}`);
    for (const listener of this.listeners) listener(this.choice, before);
  }
}

function spotText(spot: Spot): string {
  return isRow(spot) ? String(spot.row) : `${Number(spot.x.toPrecision(6))},${Number(spot.y.toPrecision(6))}`;
}

function readSpot(text: string | null, rows: number): Spot | null {
  const numbers = (text ?? "").split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  if (!numbers.every(Number.isFinite)) return null;
  if (numbers.length === 2) return { x: numbers[0]!, y: numbers[1]! };
  const row = numbers[0]!;
  return numbers.length === 1 && Number.isInteger(row) && row >= 0 && row < rows ? { row } : null;
}

/** Return a choice as the part of a link after `#`. */
export function encode(choice: Choice, fingerprint: string): string {
  const parts = new URLSearchParams({ space: choice.space });
  if (fingerprint) parts.set("version", fingerprint.slice(0, 8));
  if (choice.spot) parts.set("at", spotText(choice.spot));
  if (choice.tool !== "point") parts.set("tool", choice.tool);
  if (choice.other) parts.set("to", spotText(choice.other));
  if (choice.tool === "path" && choice.other) parts.set("share", String(choice.share));
  if (choice.concept) {
    parts.set("concept", choice.concept);
    parts.set("steps", String(choice.steps));
  }
  if (choice.likes.length) parts.set("likes", choice.likes.join(","));
  if (choice.question !== null) parts.set("question", choice.question);
  if (choice.colour) parts.set("colour", choice.colour.attribute);
  if (choice.colour?.value != null) parts.set("value", choice.colour.value);
  return parts.toString();
}

/** Read the part of a link after `#`; what does not fit the spaces is left out. */
export function decode(
  text: string,
  spaces: { name: string; rows: number; fingerprint: string }[],
): { choice: Choice; stale: boolean } {
  const parts = new URLSearchParams(text.replace(/^#/, ""));
  const space = spaces.find((one) => one.name === parts.get("space")) ?? spaces[0]!;
  const choice = fresh(space.name);
  const version = parts.get("version");
  if (version !== null && version !== space.fingerprint.slice(0, 8)) return { choice, stale: true };
  const number = (name: string, low: number, high: number, otherwise: number) => {
    const value = parts.has(name) ? Number(parts.get(name)) : Number.NaN;
    return Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : otherwise;
  };
  choice.spot = readSpot(parts.get("at"), space.rows);
  choice.other = readSpot(parts.get("to"), space.rows);
  choice.tool = TOOLS.find((tool) => tool === parts.get("tool")) ?? "point";
  choice.share = number("share", 0, 1, choice.share);
  choice.concept = parts.get("concept");
  choice.steps = number("steps", -4, 4, choice.steps);
  choice.likes = (parts.get("likes") ?? "")
    .split(",")
    .filter((part) => /^\d+$/.test(part))
    .map(Number)
    .filter((row) => row < space.rows);
  choice.question = parts.get("question");
  const attribute = parts.get("colour");
  if (attribute !== null) choice.colour = { attribute, value: parts.get("value") };
  return { choice, stale: false };
}
