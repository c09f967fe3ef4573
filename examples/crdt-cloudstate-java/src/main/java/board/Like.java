package board;

import io.cloudstate.javasupport.Context;
import io.cloudstate.javasupport.ServiceCall;

/** The call that other entities make of {@link Likes}. */
final class Like {

  private Like() {}

  static ServiceCall once(Context context, String postId) {
    BoardApi.LikePost like = BoardApi.LikePost.newBuilder().setPostId(postId).setTimes(1).build();
    return context.serviceCallFactory().lookup("board.Likes", "Like", BoardApi.LikePost.class).createCall(like);
  }
}
