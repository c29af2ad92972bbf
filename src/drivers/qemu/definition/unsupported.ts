import { VisorError } from '../../../model/index.ts'

/** The error for a setting that cannot be honoured; `path` names it. */
export function unsupported(path: string, what: string, remedy?: string): VisorError {
  return new VisorError('unsupported-config', `${path}: ${what.replace(/\.$/u, '')}.`, {
    path,
    remedy: remedy ?? 'Change or remove it.',
  })
}
