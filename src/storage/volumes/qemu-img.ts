/** What is left to qemu-img(1). */
import { endingWithUs, findProgram, runChecked } from '../../host/index.ts'
import { type Progress, VisorError, type VolumeFormat } from '../../model/index.ts'

export interface QemuImgOptions {
  readonly signal?: AbortSignal | undefined
  readonly progress?: ((progress: Progress) => void) | undefined
  /** What it does, for who watches. */
  readonly phase?: string
}

/** Copies of disks take hours; whoever asked can give them up. */
const longestMs = 24 * 3_600_000
/** An image that anybody wrote may be made to keep its reader busy; a header takes neither. */
const readerLimits = ['--as=2147483648', '--cpu=30']
const readerTimeoutMs = 30_000

/** Runs it to its end. Fails with `failed` and what it said, `unavailable` when it is missing, `cancelled`. */
export async function qemuImg(
  args: readonly string[],
  { signal, progress, phase = 'writing' }: QemuImgOptions = {},
): Promise<void> {
  const [command = '', ...rest] = args
  const shown = progress && ['convert', 'rebase', 'commit', 'resize'].includes(command)
  const options = {
    timeoutMs: longestMs,
    maxBytes: 2 ** 24,
    // What it makes is of no use to anybody when visord is gone.
    through: await endingWithUs(),
    ...(signal && { signal }),
    ...(shown && {
      onOutput(text: string) {
        const percent = [...text.matchAll(/\((\d{1,3}(?:\.\d+)?)\/100%\)/gu)].at(-1)?.[1]
        if (percent !== undefined) progress({ phase, done: Number(percent), total: 100, unit: 'percent' })
      },
    }),
  }
  if (!(await findProgram('qemu-img'))) throw notInstalled()
  const words = [command, ...(shown && command !== 'resize' ? ['-p'] : []), ...rest]
  for (let tries = 1; ; tries++)
    try {
      await runChecked('qemu-img', words, options)
      return
    } catch (error) {
      // How long a key takes is measured by processor time, which a busy host may not tell.
      if (tries === 20 || !/accurate CPU usage/u.test(String(error))) throw withRemedy(error)
    }
}

/** Size that a guest sees of an image whose header says it only to its own driver. */
export async function readVirtualSize(path: string, format: VolumeFormat): Promise<number> {
  const prlimit = await findProgram('prlimit')
  const limits = prlimit ? [prlimit, ...readerLimits] : []
  const [program = '', ...args] = [...limits, 'qemu-img', 'info', '--output=json', '-U', '-f', format, path]
  const { stdout } = await runChecked(program, args, { timeoutMs: readerTimeoutMs, maxBytes: 2 ** 20 }).catch(
    (error: unknown) => {
      throw withRemedy(error)
    },
  )
  const size: unknown = JSON.parse(stdout)['virtual-size']
  if (typeof size !== 'number' || !Number.isSafeInteger(size)) throw new Error('its size cannot be told')
  return size
}

function withRemedy(error: unknown): unknown {
  if (!(error instanceof VisorError)) return error
  if (error.code === 'unavailable') return notInstalled(error)
  if (/No space left on device/u.test(error.message))
    return new VisorError('failed', error.message, {
      cause: error,
      remedy: 'Make room in the pool, or choose another one.',
    })
  if (/Failed to get (?:shared )?"?(?:write|consistent read)/u.test(error.message))
    return new VisorError('busy', `${error.message} A machine uses it.`, {
      cause: error,
      remedy: 'Stop the machine first.',
    })
  return error
}

const notInstalled = (cause?: unknown) =>
  new VisorError('unavailable', "The program 'qemu-img' is not installed.", {
    cause,
    remedy: 'Install qemu-utils.',
  })
