import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { root } from "./run.ts";

/** Links between the pages, and into the repository, that lead nowhere. */
export function brokenLinks(): string[] {
  const pages = [
    "README.md",
    "CHANGELOG.md",
    ...readdirSync(`${root}docs`).map((name) => `docs/${name}`),
  ];
  return pages
    .filter((page) => page.endsWith(".md"))
    .flatMap((page) =>
      linksOf(page)
        .filter((link) => !leadsSomewhere(page, link))
        .map((link) => `${page}: the link to ${link} leads nowhere`),
    );
}

function linksOf(page: string): string[] {
  const text = readFileSync(`${root}${page}`, "utf8").replaceAll(/^```.*?^```/gms, "");
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link = ""]) => link)
    .filter((link) => !/^[a-z]+:/.test(link));
}

function leadsSomewhere(page: string, link: string): boolean {
  const [path = "", anchor] = link.split("#");
  const target = path === "" ? page : normalize(join(dirname(page), path));
  if (!existsSync(`${root}${target}`)) return false;
  if (anchor === undefined) return true;
  return anchorsOf(target).includes(anchor);
}

/** As GitHub makes them of headings. */
function anchorsOf(page: string): string[] {
  const text = readFileSync(`${root}${page}`, "utf8");
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}
