import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { defineConfig } from "vite";

/** Return the folder of the package that a module belongs to. */
function packageOf(file) {
  let folder = dirname(file);
  while (!existsSync(join(folder, "package.json")) || !JSON.parse(readFileSync(join(folder, "package.json"))).name) {
    folder = dirname(folder);
  }
  return folder;
}

/** Return the folders of a package's dependencies, which its published file may have taken in. */
function inside(folder) {
  const { dependencies = {} } = JSON.parse(readFileSync(join(folder, "package.json")));
  const folders = Object.keys(dependencies).map((name) => join(import.meta.dirname, "node_modules", name));
  return folders.flatMap((one) => [one, ...inside(one)]);
}

/** Sources that regl-scatterplot has copied into its own. */
const COPIED = {
  "kdbush (ISC), copied into regl-scatterplot": `ISC License

Copyright (c) 2018, Vladimir Agafonkin

Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted,
provided that the above copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL
IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT,
INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN
ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF
THIS SOFTWARE.`,
};

/** Write LICENSES.txt with the licence of each package that the bundle holds; a package without one fails the build. */
function licences() {
  return {
    name: "licences",
    generateBundle(_, bundle) {
      const folders = new Set();
      for (const chunk of Object.values(bundle)) {
        for (const id of chunk.type === "chunk" ? chunk.moduleIds : []) {
          const file = id.replace(/^\0/, "").replace(/\?.*$/, "");
          if (!file.includes("/node_modules/")) continue;
          for (const folder of [packageOf(file), ...inside(packageOf(file))]) folders.add(folder);
        }
      }
      const texts = [...folders].sort().map((folder) => {
        const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json")));
        const file = readdirSync(folder).find((entry) => /^licen[cs]e(\.|$)/i.test(entry));
        const text = file ? readFileSync(join(folder, file), "utf8").trim() : "";
        if (!license && !text) throw new Error(`${name} has no licence`);
        return `${name} ${version} (${license})\n\n${text || "Its package names this licence and holds no text of it."}`;
      });
      for (const [name, text] of Object.entries(COPIED)) texts.push(`${name}\n\n${text}`);
      const source = `The page of the map contains these packages:\n\n${texts.join(`\n\n${"-".repeat(80)}\n\n`)}\n`;
      this.emitFile({ type: "asset", fileName: "LICENSES.txt", source });
    },
  };
}

/** Write SOURCE, the sha256 of the sources, by which a test notices that the page was not built again. */
function source() {
  return {
    name: "source",
    generateBundle() {
      const folder = import.meta.dirname;
      const names = ["index.html", "package-lock.json", "vite.config.mjs"];
      const hash = createHash("sha256");
      for (const name of [...names, ...readdirSync(join(folder, "src")).map((file) => `src/${file}`)].sort()) {
        hash.update(`${name}\n`).update(readFileSync(join(folder, name)));
      }
      this.emitFile({ type: "asset", fileName: "SOURCE", source: `${hash.digest("hex")}\n` });
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [licences(), source()],
  build: {
    outDir: "../src/vectalk/serving/static",
    emptyOutDir: true,
    modulePreload: false,
    chunkSizeWarningLimit: 600,
    rollupOptions: {
      output: { entryFileNames: "map.js", chunkFileNames: "[name].js", assetFileNames: "map[extname]" },
    },
  },
  server: { proxy: { "/api": "http://127.0.0.1:8000", "/v1": "http://127.0.0.1:8000" } },
});
