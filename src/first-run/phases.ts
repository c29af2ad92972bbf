/** Tells what is done and how long each part of it took. */
export interface Phases {
  /** Does a part of the work, and tells its time. The work may return a remark to put behind it. */
  run<T>(title: string, work: (tell: (remark: string) => void) => Promise<T>): Promise<T>
  /** All of them, with the total. */
  summary(): string
}

export function createPhases(
  write: (text: string) => void,
  now: () => number = () => performance.now(),
): Phases {
  const done: { readonly title: string; readonly seconds: number; readonly remark: string }[] = []
  return {
    async run(title, work) {
      const started = now()
      let remark = ''
      write(`==> ${title}\n`)
      const result = await work((text) => {
        remark = text
      })
      const seconds = (now() - started) / 1000
      done.push({ title, seconds, remark })
      write(`    done in ${seconds.toFixed(2)} s${remark && ` (${remark})`}\n`)
      return result
    },
    summary() {
      const width = Math.max(...done.map(({ title }) => title.length), 5)
      const total = done.reduce((sum, { seconds }) => sum + seconds, 0)
      const line = (title: string, seconds: number, remark = '') =>
        `  ${title.padEnd(width)} ${seconds.toFixed(2).padStart(8)} s${remark && `  ${remark}`}\n`
      return (
        done.map(({ title, seconds, remark }) => line(title, seconds, remark)).join('') + line('total', total)
      )
    },
  }
}
