/* protocol/base/tsan.h -- what ThreadSanitizer cannot know
 *
 * Memory that is handed over by page protection: who took away the right to write it may read it,
 * whatever other threads wrote before. Between the two the calling thread's reads are not looked
 * at. And what another process orders: what was given to it comes before what was got from it
 * later.
 */
#ifndef GP_TSAN_H
#define GP_TSAN_H

#ifdef __SANITIZE_THREAD__
#define GP_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GP_TSAN 1
#endif
#endif

#ifdef GP_TSAN
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateHappensBefore(const char *file, int line, const volatile void *what);
void AnnotateHappensAfter(const char *file, int line, const volatile void *what);
#define GP_TSAN_READS_GUARDED()      AnnotateIgnoreReadsBegin(__FILE__, __LINE__)
#define GP_TSAN_READS_GUARDED_DONE() AnnotateIgnoreReadsEnd(__FILE__, __LINE__)
#define GP_TSAN_GIVEN(what)          AnnotateHappensBefore(__FILE__, __LINE__, what)
#define GP_TSAN_GOT(what)            AnnotateHappensAfter(__FILE__, __LINE__, what)
#else
#define GP_TSAN_READS_GUARDED()      ((void)0)
#define GP_TSAN_READS_GUARDED_DONE() ((void)0)
#define GP_TSAN_GIVEN(what)          ((void)(what))
#define GP_TSAN_GOT(what)            ((void)(what))
#endif

#endif
