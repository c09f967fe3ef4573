/** Who is told how it goes on. */
export interface Steps {
  /** A new step, out of about so many. */
  begin(step: string, total: number): void;
  /** One more of it is done; or so many. */
  count(what: string, by?: number): void;
  /** A line. */
  say(line: string): void;
}
