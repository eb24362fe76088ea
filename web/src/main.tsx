import { render } from "preact";
import { App } from "./app";
import { unpack } from "./network/network";
import { worldOf, type Run } from "./session";
import { taskOf } from "./tasks";
import * as testing from "./testing";

const told = JSON.parse(document.getElementById("told")!.textContent!);
const runs: Run[] = told.runs.map((run: any) => ({ ...run, network: unpack(run.network) }));
const world = worldOf(taskOf(told.task), runs);

const root = document.getElementById("app")!;
root.textContent = "";
render(<App world={world} />, root);

/** For the console, and for tests: the networks of this page as functions. */
Object.assign(globalThis, { fastweights: testing.functions(world) });
