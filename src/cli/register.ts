import type { Command } from "commander";
import type { Context } from "./context.ts";
import type { ExitCode } from "./exit.ts";

/** Adds arguments, options and action to `command`; the action calls `done` with the exit code. */
export type Register = (
  command: Command,
  context: Context,
  done: (exitCode: ExitCode) => void,
) => void;
