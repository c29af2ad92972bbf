/** Tells whoever started visord how it stands: systemd's protocol, sd_notify(3). Silent without NOTIFY_SOCKET. */
import { sendDatagram } from '../host/index.ts'

export interface Notifier {
  /** All is usable. Starts the watchdog's beats where systemd wants them. */
  ready(status: string): Promise<void>
  stopping(): Promise<void>
}

/** Takes what systemd left in the environment, so that guests do not inherit it. */
export function openNotifier(env: NodeJS.ProcessEnv = process.env): Notifier {
  const { NOTIFY_SOCKET: path, WATCHDOG_USEC: watchdog, WATCHDOG_PID: watched } = env
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete env[name]
  if (!path) return { ready: async () => {}, stopping: async () => {} }
  const intervalMs = Number(watchdog) / 2000
  const beats = intervalMs > 0 && (watched === undefined || watched === String(process.pid))
  let timer: NodeJS.Timeout | undefined
  return {
    async ready(status) {
      await sendDatagram(path, `READY=1\nMAINPID=${process.pid}\nSTATUS=${status}`)
      // A beat says that the event loop turns, which is what a watchdog is for.
      if (beats) timer = setInterval(() => void sendDatagram(path, 'WATCHDOG=1'), intervalMs).unref()
    },
    async stopping() {
      clearInterval(timer)
      await sendDatagram(path, 'STOPPING=1')
    },
  }
}
