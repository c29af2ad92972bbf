/** Work on one thing happens one after another; work on different things at once. */
export interface OneAtATime {
  <T>(key: string, work: () => Promise<T>): Promise<T>
  /** Whether work on it is under way or waits. */
  isBusy(key: string): boolean
}

export function oneAtATime(): OneAtATime {
  const ends = new Map<string, Promise<unknown>>()
  const run = <T>(key: string, work: () => Promise<T>): Promise<T> => {
    const done = (ends.get(key) ?? Promise.resolve()).then(work, work)
    const end = done.then(
      () => {},
      () => {},
    )
    ends.set(key, end)
    void end.then(() => {
      if (ends.get(key) === end) ends.delete(key)
    })
    return done
  }
  return Object.assign(run, { isBusy: (key: string) => ends.has(key) })
}
