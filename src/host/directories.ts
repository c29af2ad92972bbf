import { homedir } from 'node:os'
import { join } from 'node:path'

/** `system`: root, one for the machine. `session`: one user's own. */
export type Mode = 'system' | 'session'

/** Where visor keeps its things; each has a flag and an environment variable. */
export interface Directories {
  readonly mode: Mode
  /** Survives a power cut: definitions, images. `VISOR_STATE_DIR`. */
  readonly state: string
  /** Lives as long as the boot: sockets, process ids. `VISOR_RUNTIME_DIR`. */
  readonly runtime: string
  /** The configuration file. `VISOR_CONFIG`. */
  readonly config: string
}

/**
 * The directories of this user: /var/lib/visor, /run/visor and /etc/visor/visord.yaml for root, those of the
 * XDG Base Directory Specification for others. Environment variables that are not
 * empty override each.
 */
export function findDirectories(
  env: Readonly<Record<string, string | undefined>> = process.env,
  uid: number = process.getuid?.() ?? 0,
): Directories {
  const mode = uid === 0 ? 'system' : 'session'
  const home = env.HOME || homedir()
  const defaults =
    mode === 'system'
      ? { state: '/var/lib/visor', runtime: '/run/visor', config: '/etc/visor/visord.yaml' }
      : {
          state: join(env.XDG_STATE_HOME || join(home, '.local/state'), 'visor'),
          runtime: env.XDG_RUNTIME_DIR ? join(env.XDG_RUNTIME_DIR, 'visor') : join('/tmp', `visor-${uid}`),
          config: join(env.XDG_CONFIG_HOME || join(home, '.config'), 'visor/visord.yaml'),
        }
  return {
    mode,
    state: env.VISOR_STATE_DIR || defaults.state,
    runtime: env.VISOR_RUNTIME_DIR || defaults.runtime,
    config: env.VISOR_CONFIG || defaults.config,
  }
}

/** The unix socket that visord serves REST on. */
export function restSocket(directories: Pick<Directories, 'runtime'>): string {
  return join(directories.runtime, 'visord.sock')
}

/** The TCP port on the loopback that visord serves REST on where its configuration says nothing. */
export const restPort = 8430
