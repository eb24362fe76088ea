import { associativeRetrieval } from "./associative_retrieval";
import { copying } from "./copying";
import { drawn } from "./drawn";
import type { Task, TaskData } from "./task";

export type { Sequence, Task, TaskData } from "./task";

export function taskOf(data: TaskData): Task {
  if (data.grammar === "associative-retrieval") return associativeRetrieval(data);
  return data.grammar === "copying" ? copying(data) : drawn(data);
}
