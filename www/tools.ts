/** The tool that the page offers to models with tool calls: the current date and time. */

import type { Tool, ToolCall } from "tablm";

/** Tool definitions for the request. */
export const TOOLS: readonly Tool[] = [
  {
    type: "function",
    function: {
      name: "clock",
      description: "The present date and time, at a place or where the user is.",
      parameters: {
        type: "object",
        properties: {
          time_zone: {
            type: "string",
            description: "An IANA time zone such as Europe/Oslo; leave it out for the user's own.",
          },
        },
      },
    },
  },
];

/** Runs a tool call. Errors are returned as text for the model, which may then call again. */
export function runTool({ function: { name, arguments: json } }: ToolCall): string {
  if (name !== "clock") return `There is no tool ${name}.`;
  try {
    const zone = (JSON.parse(json) as { time_zone?: unknown } | null)?.time_zone;
    const timeZone = typeof zone === "string" && zone !== "" ? zone : undefined;
    return new Intl.DateTimeFormat("en-GB", {
      dateStyle: "full",
      timeStyle: "long",
      timeZone,
    }).format(new Date());
  } catch (error) {
    return (error as Error).message;
  }
}
