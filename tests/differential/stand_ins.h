/* tests/differential/stand_ins.h -- calls that a random program makes by way of another function,
 * and what they are drawn for
 *
 * One thread at a time.
 */
#ifndef STAND_INS_H
#define STAND_INS_H

/* What is called with words instead of the library's own function, or that itself. NULL of NULL. */
void *stand_in(const char *name, void *real);

/* makers.c: the name of the call that a program has at this place at its begin, NULL behind that.
 * special: what it begins with beside. */
#define FIRST_CALLS 14
const char *first_name(unsigned long number, unsigned special);
/* One of those that make what others need, which chance alone would seldom have made. */
const char *maker_name(void);

#endif
