/* backend/images/message.c */
#include "backend/images/message.h"

#include "protocol/base/pass.h"

enum gp_status
be_image_send(int socket, const struct be_image_message *message, int fd)
{
    return gp_pass_send(socket, message, sizeof(*message), fd);
}

enum gp_status
be_image_receive(int socket, struct be_image_message *message_p, int *fd_p, int flags)
{
    struct be_image_message message;
    enum gp_status status = gp_pass_receive(socket, &message, sizeof(message), flags, fd_p);

    if (status == GP_OK)
        *message_p = message;
    return status;
}
