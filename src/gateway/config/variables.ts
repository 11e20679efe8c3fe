import { nearest } from "./nearest.ts";
import { OTHER_VARIABLES } from "./options.ts";
import type { Option } from "./options.ts";
import { shown } from "./problem.ts";
import type { ConfigProblem } from "./problem.ts";

/**
 * What Kubernetes and Docker links set for a service called "sluice". Nobody said it, so it is passed over.
 * SLUICE_PORT is not among them, because there it would hide the option.
 */
const SERVICE_LINK = /^SLUICE_(SERVICE_(HOST|PORT(_.+)?)|PORT_[0-9]+_(TCP|UDP|SCTP)(_.+)?)$/;

/** Variables that begin as ours do and are none: a misspelt one must not be passed over silently. */
export function unknownVariables(
  options: readonly Option[],
  env: Readonly<Record<string, string | undefined>>,
): ConfigProblem[] {
  const known = new Set<string>(OTHER_VARIABLES);
  for (const option of options) if (option.env !== undefined) known.add(option.env);
  return Object.keys(env)
    .filter((name) => name.startsWith("SLUICE_") && !known.has(name) && !SERVICE_LINK.test(name))
    .map((name) => {
      const meant = nearest(name.slice("SLUICE_".length), [...known].map(bare));
      const rest =
        meant === undefined ? "`sluice serve --help` lists all" : `did you mean "SLUICE_${meant}"?`;
      return { where: shown(name).slice(1, -1), key: "", message: `is no option; ${rest}` };
    });
}

function bare(name: string): string {
  return name.slice("SLUICE_".length);
}
