/* frontend/core/hook.h -- a command of the user's, run when the pool has something to say
 *
 * notice-hook of client.ini or GPUPOOL_NOTICE_HOOK: a line for /bin/sh. It runs when the server
 * says that the session is idle and will be ended, and when a session is lost. The environment is
 * the program's as it was when the session began, and
 *
 *   GPUPOOL_NOTICE_KIND    "told": still time to work; "ended": the session is over
 *   GPUPOOL_NOTICE_TEXT    why, one line; it comes from the server: quote it
 *   GPUPOOL_NOTICE_SERVER  its URL
 *   GPUPOOL_NOTICE_PID     the program
 *
 * Standard input is /dev/null, standard output goes to standard error, signals are as at a start.
 * It is in a session of its own and a grandchild: the program gets no SIGCHLD, none of its waits
 * find it, nothing of it stays. What a server says more often than once in a second, or after 64
 * times, runs nothing.
 *
 * Threads: _set before the first session; _run any, it does not wait.
 */
#ifndef FE_HOOK_H
#define FE_HOOK_H

/* command is copied; NULL: none. */
void fe_hook_set(const char *command);
void fe_hook_run(const char *kind, const char *server, const char *text);

#endif
