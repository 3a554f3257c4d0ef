// The shapes that the pages' scripts share. What the API takes and answers comes from its OpenAPI
// document, the card's elements from its template, the words from the English file.
import type words from "../../services/review_ui/screen/assets/words/en.json";
import type { components, paths } from "./generated/api.js";
import type { CardAction, CardElements } from "./generated/card.js";

type Schemas = components["schemas"];

/** `/tasks/{id}/undo` as what stands in a script: `/tasks/${string}/undo`. */
type Filled<P> = P extends `${infer Before}{${string}}${infer After}`
  ? `${Before}${string}${Filled<After>}`
  : P;
type WithoutQuery<P> = P extends `${infer Path}?${string}` ? Path : P;
/** The path of the document that P fills; never: there is none. */
type Named<P> = {
  [K in keyof paths]: K extends `/api/v1${infer Rest}`
    ? [P, Filled<Rest>] extends [Filled<Rest>, P]
      ? K
      : never
    : never;
}[keyof paths];
type Operation<M extends string, P> =
  paths[Named<WithoutQuery<P>>] extends infer Methods
    ? Lowercase<M> extends keyof Methods
      ? Methods[Lowercase<M>]
      : never
    : never;
type Json<T> = T extends { content: { "application/json": infer J } } ? J : null;

declare global {
  namespace Api {
    type Me = Schemas["Me"];
    type Task = Schemas["TaskView"];
    type Piece = Schemas["Piece"];
    type QueueStats = Schemas["QueueStats"];
    type Held = Schemas["Held"];
    type Flag = Schemas["Flag"];
    type Holder = Schemas["Holder"];
    type Wanted = Schemas["Wanted"];
    type Filter = Omit<Schemas["Claim"], "count">;
    type Decide = Schemas["Decide"];
    type Outcome = Schemas["Outcome"];
    type Action = Decide["action"];

    type Method = "GET" | "POST";
    /** P itself where the document has it with this method, else never. */
    type Path<M extends Method, P> = [P] extends [never]
      ? never
      : P extends string
        ? [Operation<M, P>] extends [never | undefined]
          ? never
          : P
        : never;
    type Body<M extends Method, P> =
      Operation<M, P> extends { requestBody: { content: { "application/json": infer J } } }
        ? J
        : undefined;
    type Answer<M extends Method, P> =
      Operation<M, P> extends { responses: infer R } ? Json<R[keyof R & (200 | 201 | 202 | 204)]> : never;
  }

  namespace Ui {
    type Words = (typeof words)["card"];
    type Parts = Omit<typeof words, "language">;
    type Timer = ReturnType<typeof setTimeout>;
    /** What a key or a button does: a `data-act` of the template, or of a label's button. */
    type ActionName = CardAction | "accept" | "label";
    /** The label's place. */
    type Detail = number | string;
    /** The element that the card's template names so. */
    type At = <N extends keyof CardElements>(name: N) => CardElements[N];

    /** A task in this page's hands: until when (performance.now), an answer and a note begun on it. */
    type Task = Api.Task & { heldUntil?: number; begun?: Answer | null; noted?: string };
    /** An answer as the API takes it: `{ labels: ["insult"] }`. */
    type Answer = Readonly<Record<string, unknown>>;
    /** What somebody answers; `brief`: in few words. */
    type Given = { answer: Answer; brief: string };
    /** What the card of a kind of answer works with. */
    type Desk = {
      at: At;
      words: Words;
      me: Api.Me;
      decide: (action: Api.Action, given: Given) => void;
      /** Sends what is on the card, if it is an answer. */
      send: () => void;
      /** The answer on the card is another one. */
      changed: () => void;
      /** For screen readers. */
      say: (text: string) => void;
    };
    /** How tasks of one kind are shown and answered. */
    interface KindCard {
      /** As it stands on the card, right or wrong; null: there is none. */
      readonly answer: Answer | null;
      /** Whether choosing is deciding. */
      readonly decides?: boolean;
      /** Fills the card; `answer`: to begin with. */
      show(task: Task, answer: Answer | null): void;
      /** What keeps the answer from being sent, marked on the card as well; null: nothing. */
      wrong(): string | null;
      /** It was to be sent and is wrong: names all that is. */
      refused?(): void;
      brief(answer: Answer): string;
      /** 0 for the key 1. */
      digit?(place: number): void;
      /** Whether it is a key of its own, and then it is done. */
      key?(event: KeyboardEvent, target: Element): boolean;
    }
    /** A decision in the list of the last ones. `task`: as it was here; null: from the server. */
    type Decided = {
      key: string;
      task: Task | null;
      itemId?: string;
      label: string | null;
      answer?: Answer | null;
      action: string;
      changed: boolean;
      late: boolean;
      note?: string;
      /** Seconds; unset: not decided on this page. */
      took?: number;
    };
    /** A decision that the server has not confirmed. `tried`: it may know it. */
    type Entry = { key: string; taskId: string; at: number; body: Api.Decide; tried?: boolean };
  }
}
