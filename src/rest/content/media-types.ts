/** How the bytes of a volume are on the wire. */

/** As they are, zeros and all. */
export const plainType = 'application/octet-stream'
/** As they are: a part of an upload (draft-ietf-httpbis-resumable-upload, 6). */
export const partialType = 'application/partial-upload'
/** In frames, of which some say how many zeros: `sparse-frames.ts`. */
export const sparseType = 'application/vnd.visor.sparse'
