import manifest from '../../package.json' with { type: 'json' }

/** The version of this visor. */
export const version: string = manifest.version
