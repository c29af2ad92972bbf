/**
 * Several streams as one, in order of arrival. Ends when all have ended; when one fails, the others go on
 * and `onError` is told.
 */
export async function* merge<T>(
  sources: readonly AsyncIterable<T>[],
  onError: (error: unknown, index: number) => void = () => {},
): AsyncGenerator<T> {
  const iterators = sources.map((source) => source[Symbol.asyncIterator]())
  const next = (index: number) =>
    (iterators[index] as AsyncIterator<T>).next().then(
      (result) => ({ index, result }),
      (error: unknown) => {
        onError(error, index)
        return { index, result: { done: true, value: undefined } as IteratorReturnResult<undefined> }
      },
    )
  const pending = new Map(iterators.map((_, index) => [index, next(index)]))
  try {
    while (pending.size > 0) {
      const { index, result } = await Promise.race(pending.values())
      if (result.done) pending.delete(index)
      else {
        pending.set(index, next(index))
        yield result.value
      }
    }
  } finally {
    for (const iterator of iterators) void iterator.return?.(undefined)
  }
}
