/** The top of the page: the spaces, the link to share, light and dark, and messages. */

import type { Space } from "./api";
import { count, el, fill } from "./dom";

const THEME = "vectalk-theme";
const THEMES = ["auto", "light", "dark"];

function stored(): string {
  try {
    return localStorage.getItem(THEME) ?? "auto";
  } catch {
    return "auto"; // storage may be forbidden
  }
}

export class TopBar {
  readonly element: HTMLElement;
  private tabs: HTMLElement;
  private facts = el("span", { class: "quiet facts" });
  private message = el("span", { class: "message", role: "status" });
  private share: HTMLButtonElement;
  private theme: HTMLButtonElement;

  constructor(
    private spaces: Space[],
    model: string,
    choose: (space: string) => void,
    private repaint: () => void,
  ) {
    this.tabs = el(
      "div",
      { class: "tabs", role: "group", "aria-label": "Space" },
      ...spaces.map((space) =>
        el("button", { type: "button", "data-space": space.name, onclick: () => choose(space.name) }, space.name),
      ),
    );
    this.share = el("button", { type: "button", id: "share", onclick: () => void this.copy() }, "Copy link");
    this.theme = el("button", { type: "button", id: "theme", onclick: () => this.turnTheme() });
    this.element = el(
      "header",
      { class: "top" },
      el("strong", { class: "brand", title: model }, model),
      this.tabs,
      this.facts,
      this.message,
      el("span", { class: "grow" }),
      this.share,
      this.theme,
    );
    this.applyTheme(stored());
  }

  show(space: Space): void {
    for (const tab of this.tabs.children) {
      tab.setAttribute("aria-pressed", String((tab as HTMLElement).dataset.space === space.name));
    }
    this.tabs.hidden = this.spaces.length < 2;
    fill(this.facts, `${count(space.rows)} points of ${space.dim} dimensions`);
    this.facts.title = space.licence ? `Licence: ${space.licence}` : "";
    document.title = `${space.name} · vectalk`;
  }

  say(message: string): void {
    fill(this.message, message);
  }

  private async copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(location.href);
      this.share.textContent = "Copied";
    } catch {
      this.share.textContent = "Copy the address bar";
    }
    setTimeout(() => {
      this.share.textContent = "Copy link";
    }, 2000);
  }

  private turnTheme(): void {
    const next = THEMES[(THEMES.indexOf(this.theme.dataset.theme ?? "auto") + 1) % THEMES.length]!;
    try {
      localStorage.setItem(THEME, next);
    } catch {
      // The choice lasts as long as the page.
    }
    this.applyTheme(next);
    this.repaint();
  }

  private applyTheme(theme: string): void {
    const known = THEMES.includes(theme) ? theme : "auto";
    this.theme.dataset.theme = known;
    fill(this.theme, el("span", { class: "wide" }, "Theme: "), known);
    this.theme.title = "Light or dark; Auto follows the system";
    if (known === "auto") document.documentElement.removeAttribute("data-theme");
    else document.documentElement.dataset.theme = known;
  }
}
